"""The registry: every module of this folder is an unlearning method.

A module's name is the method's name. Modules with a leading underscore hold what methods share.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names must be known without importing torch
    from medunlearn.methods._task import Method

Setting = float | int | str
"""What a setting of a method may be."""

METHOD_NAMES: tuple[str, ...] = tuple(
    sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
)
"""All methods, ``original`` (do nothing) and ``retrain`` among them."""


def get_method(name: str) -> "Method":
    """The record of a method; its module, and torch, are imported only now."""
    method: Method = importlib.import_module(f"medunlearn.methods.{name}").__dict__[name]
    return method
