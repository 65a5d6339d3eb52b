"""A profile of one's own: a YAML file, completed by one of the study's profiles."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medunlearn.errors import InputError, choose_from
from medunlearn.models import is_short
from medunlearn.yamlfile import read_yaml


def read_own_profile(path: Path, known: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Its fields, those of its ``base`` where it says nothing, and repeated keys as faults.

    Files that it names lie in its folder. So may the module of its network: Python looks for it
    there after all other places.

    Args:
        path: The file.
        known: The fields of the study's profiles, by name.

    Raises:
        InputError: The file cannot be read, or its base is not known.
    """
    fields, faults = read_yaml(path)
    folder = path.absolute().parent
    if "base" in fields:
        base = str(fields.pop("base"))
        if base not in known:
            faults.append(f"base: given {base!r}; {choose_from(base, known)}")
            raise InputError(f"profile {path}", faults)
        if isinstance(fields.get("training"), dict):
            fields["training"] = known[base]["training"] | fields["training"]
        fields = known[base] | fields
    for field in ("weights", "forget"):
        if isinstance(given := fields.get(field), str) and given:
            fields[field] = str((folder / Path(given).expanduser()).resolve())
    if not is_short(fields.get("network", "")) and str(folder) not in sys.path:
        sys.path.append(str(folder))
    return fields, faults
