"""The public call: a network without the images of some patients."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from medunlearn.adapters import set_aside, unused_parameters
from medunlearn.batches import Batches, Recipe
from medunlearn.errors import InputError
from medunlearn.methods import METHOD_NAMES, Setting, get_method
from medunlearn.methods._task import Method, Task
from medunlearn.study.profile import Training
from medunlearn.training import reestimate_statistics
from medunlearn.unlearning.data import (
    OwnImages,
    count_classes,
    hold,
    read_forget,
    read_patients,
    read_set,
)
from medunlearn.unlearning.doubts import doubt_original, doubt_result
from medunlearn.unlearning.network import (
    borrow,
    check_alike,
    check_network,
    fresh_copies,
    give_back,
)
from medunlearn.yamlfile import describe_fault

RECIPE: Mapping[str, Any] = {
    "epochs": 25,
    "batch_size": 32,
    "learning_rate": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "horizontal_flip": False,
    "max_shift": 0,
}
"""How an original was trained, unless its user says otherwise: as in the laptop study."""
SGD_ALONE = "optimizer: training is SGD here; give what your own script retrained as retrained="


def unlearn(
    model: nn.Module,
    images: Any,
    labels: Any = None,
    *,
    forget: Any,
    method: str = "salun",
    patients: Any = None,
    holdout: Any = None,
    normalise: Callable[[torch.Tensor], torch.Tensor] | tuple[Any, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    factory: Callable[[], nn.Module] | None = None,
    head: str = "",
    checkpoint: nn.Module | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    **settings: Setting,
) -> nn.Module:
    """Unlearn images of a trained classifier's training set.

    The network given stays as it is, bit for bit. Parameters that are frozen (``requires_grad``
    False) stay so and do not change. Statistics of BatchNorm are estimated anew on the retain set
    afterwards, in one pass.

    The result says nothing about how well it has forgotten. That needs a comparison with networks
    that were retrained without these patients, as the study makes it.

    Args:
        model: From images (n, channels, height, width) to logits (n, classes). A single logit is
            taken as that of class 1. A tuple or mapping may hold the logits, if no other tensor.
        images: All training images, forget and retain: an array or tensor (n, channels, height,
            width) or (n, height, width), uint8 or float; or a torch ``Dataset`` or an unshuffled
            ``DataLoader`` of (image, label), or of mappings with these keys. It is read once, so
            augmentation inside a data set is frozen: ``recipe`` can augment.
        labels: Class numbers from 0, (n,); none with a data set or loader.
        forget: What to forget: ids, if ``patients`` are given; else row numbers; or a boolean mask
            (n,).
        method: A module of ``medunlearn.methods``; ``salun`` by default.
        patients: Whose each image is, (n,), numbers or texts.
        holdout: (images, labels) of patients who were not trained on, or a data set of them. Only
            ``kde``, ``lotus``, ``regun`` and ``scrub_r`` read it.
        normalise: How pixels become inputs of the network. Default: floats as given; uint8 as in
            the study, (x - 127.5) / 63.75. Or (mean, deviation), numbers or one for each channel,
            where uint8 is first divided by 255. Or a function of a batch of pixels.
        recipe: How the original was trained, as far as it differs from ``RECIPE``: 25 epochs of
            batches of 32, SGD with momentum .9, weight decay 5e-4 and a one-cycle rate with its
            peak at .1; no ``horizontal_flip`` (True or False) and no ``max_shift`` (px). Methods
            train with its batches, momentum, decay and augmentation, and at most a fifth of its
            epochs. ``retrain``, ``eu_k`` and ``sisa`` train with all of it. With another optimizer
            retrain by your own script, and give the network to ``unlearn_with_record``.
        factory: Makes an untrained network, for ``retrain``, ``sisa``, ``eu_k``, ``kde`` and
            ``bad_teacher``. Default: a copy of yours whose layers are drawn anew.
        head: Name of the layer that gives the logits, if it is not the last one that is reached.
        checkpoint: Your network as it was before the last fifth of its epochs; only ``r2d`` needs
            it.
        seed: Same seed, same result, on the same kind of processor with as many threads.
        device: Where to compute; default: where the network is.
        settings: Of the method; its keyword defaults are the usual ones.

    Returns:
        A new network of the same class, with the same names, on the same device as the one given,
        in evaluation mode. Only ``sisa`` gives an ensemble of such networks.

    Raises:
        InputError: Anything given cannot be used; every fault that was found is named.

    Warns:
        UserWarning: The images' scale does not fit the network; its running statistics do not fit
            the images; the result diverged, answers one class only, is still the original, or is
            clearly better on the retain set.

    Example:
        Forget two of twenty patients, each with two images:

        >>> import torch
        >>> from medunlearn import unlearn
        >>> _ = torch.manual_seed(0)
        >>> patients = [f"p{i // 2}" for i in range(40)]
        >>> labels = torch.arange(40) % 2
        >>> images = torch.rand(40, 1, 8, 8) + labels[:, None, None, None]
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        >>> for _ in range(50):
        ...     optimiser.zero_grad()
        ...     torch.nn.functional.cross_entropy(network(images), labels).backward()
        ...     optimiser.step()
        >>> unlearned = unlearn(network, images, labels, patients=patients, forget=["p0", "p7"])
        >>> type(unlearned).__name__, unlearned(images).shape
        ('Sequential', torch.Size([40, 2]))
    """
    check_network(model, "model")
    chosen = find_method(method)
    if checkpoint is not None:
        check_alike(checkpoint, model, "checkpoint")
    place = str(device or next(model.parameters()).device)
    borrowed = borrow(model, place).eval()
    told = {**RECIPE, **(recipe or {})}
    images_, parts, classes = _read(
        borrowed, images, labels, forget, patients, holdout, normalise, chosen
    )
    own = Recipe(
        network=fresh_copies(model, factory),
        channels=images_.pixels.shape[1],
        classes=classes,
        norm="batch",
        **check_recipe(told),
    )
    retain, forgotten, held = (Batches(images_, rows, own) for rows in parts)
    early = borrow(checkpoint, place).eval() if checkpoint is not None else None
    for network in (borrowed, early):
        if network is not None:
            set_aside(network, unused_parameters(network, images_.inputs(retain.rows[:2])))
    task = Task(retain, forgotten, held, own, checkpoint=early, head=_check_head(borrowed, head))
    with _own_randomness(seed, borrowed):
        known = doubt_original(borrowed, task)
        unlearned = chosen(borrowed, task, seed=seed, **settings)
        if chosen.own_training:
            return unlearned.to(next(model.parameters()).device)
        if chosen.forgets:
            for network in (borrowed, unlearned):
                reestimate_statistics(network, retain)
        told = {**chosen.usual(own), **settings}
        doubt_result(borrowed, unlearned, task, chosen, told, known)
    return give_back(unlearned, model)


def find_method(name: str) -> Method:
    """The method of this name.

    Raises:
        InputError: There is none.
    """
    if name not in METHOD_NAMES:
        fault = f"method {name!r} is not known; choose from {', '.join(METHOD_NAMES)}"
        raise InputError("unlearning", [fault])
    return get_method(name)


def _read(
    model: nn.Module,
    images: Any,
    labels: Any,
    forget: Any,
    patients: Any,
    holdout: Any,
    normalise: Any,
    method: Method,
) -> tuple[OwnImages, list[NDArray[np.int64]], int]:
    """All images on the device of the model, rows of the three sets, and the number of logits."""
    faults: list[str] = []
    if holdout is None and "holdout" in method.reads:
        told = "holdout: this method reads images of patients who were not trained on; give"
        faults.append(f"{told} holdout=(images, labels), or choose another method")
    training = read_set("images", images, labels, faults)
    inputs, answers = holdout if isinstance(holdout, tuple) else (holdout, None)
    held = read_set("holdout", inputs, answers, faults) if holdout is not None else None
    if training:
        count = len(training.labels)
        numbers = read_patients(patients, count, faults)
        mask = read_forget(forget, patients, count, faults)
        if held and held.pixels.shape[1:] != training.pixels.shape[1:]:
            shapes = [tuple(x.pixels.shape[1:]) for x in (held, training)]
            faults.append(f"holdout: images of shape {shapes[0]}; expected {shapes[1]}")
    if faults or not training:
        raise InputError("unlearning", faults)
    sets = [training, held] if held else [training]
    extra = np.arange(len(held.labels)) + count if held else np.arange(0)
    own = hold(sets, np.concatenate([numbers, extra]), normalise, model)
    return own, [np.flatnonzero(~mask), np.flatnonzero(mask), extra], count_classes(model, own)


def check_recipe(told: dict[str, Any]) -> dict[str, Any]:
    """The fields of a recipe that its user may set.

    Raises:
        InputError: A field is not known, or its value cannot be.
    """
    flip = {"horizontal_flip": bool(told.pop("horizontal_flip"))}
    try:
        return Training.model_validate(told).model_dump() | flip
    except ValidationError as error:
        faults = [describe_fault(fault, Training.model_fields) for fault in error.errors()]
        faults = [SGD_ALONE if each.startswith("optimizer: is no") else each for each in faults]
        raise InputError("recipe", faults) from None


def _check_head(model: nn.Module, name: str) -> str:
    known = [path for path, module in model.named_modules() if not any(module.children())]
    if name and name not in known:
        raise InputError("head", [f"{name!r} is no layer; choose from {', '.join(known)}"])
    return name


@contextmanager
def _own_randomness(seed: int, model: nn.Module) -> Iterator[None]:
    """Dropout draws from torch's global generators: seeded here, and put back in the end."""
    places = {p.device for p in model.parameters() if p.device.type == "cuda"}
    deterministic = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with torch.random.fork_rng(devices=list(places)), deterministic:
        torch.manual_seed(seed)
        yield
