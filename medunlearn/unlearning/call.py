"""The public call: a network without the images of some patients."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from medunlearn.adapters import set_aside, unused_parameters
from medunlearn.batches import Batches, Recipe
from medunlearn.errors import InputError
from medunlearn.methods import METHOD_NAMES, Setting, get_method
from medunlearn.methods._task import Method, Task
from medunlearn.study.profile import Training
from medunlearn.training import reestimate_statistics
from medunlearn.unlearning.data import count_classes, hold, read_sets
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
            width) or (n, height, width), uint8 or float; or a torch ``Dataset`` of (image, label),
            or of mappings with these keys, or the unshuffled ``DataLoader`` of one. It is read
            once, so augmentation inside a data set is frozen: ``recipe`` can augment.
        labels: Class numbers from 0, (n,); none with a data set or loader.
        forget: What to forget: ids, if ``patients`` are given; else row numbers; or a boolean mask
            (n,). With ``patients`` a mask takes all images of a patient, or none; else it is
            refused.
        method: A module of ``medunlearn.methods``; ``salun`` by default.
        patients: Whose each image is, (n,), numbers or texts.
        holdout: (images, labels) of patients who were not trained on, or a data set of them; uint8
            if the training images are. Only ``kde``, ``lotus``, ``regun`` and ``scrub_r`` read it.
        normalise: How pixels become inputs of the network: (mean, deviation), numbers or one for
            each channel, where uint8 is first divided by 255; or a function of a batch of pixels.
            Default: floats as given. Of uint8 it has to be told.
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
        settings: Of the method. What is not given is usual: a fifth of the epochs at most, and
            rates by the recipe's (see ``medunlearn/methods/README.md``).

    Returns:
        A new network of the same class, with the same names, on the same device as the one given,
        in evaluation mode. Only ``sisa`` gives an ensemble of such networks.

    Raises:
        InputError: Anything given cannot be used; every fault that was found is named.

    Warns:
        UserWarning: The network answers at chance on its own training images, so that their scale
            or labels do not fit; its running statistics do not fit the images; the result diverged,
            answers one class only, or is still the original.

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
    given = {"images": {"images": images, "labels": labels, "patients": patients}}
    faults = list[str]()
    if holdout is not None:
        inputs, answers = holdout if isinstance(holdout, tuple) else (holdout, None)
        given["holdout"] = {"images": inputs, "labels": answers}
    elif "holdout" in chosen.reads:
        told = "holdout: this method reads images of patients who were not trained on; give"
        faults.append(f"{told} holdout=(images, labels), or choose another method")
    read = read_sets(given, forget, normalise, faults)
    place = str(device or next(model.parameters()).device)
    borrowed = borrow(model, place).eval()
    _check_head(borrowed, head)
    held = hold(read, normalise, borrowed)
    size = {"channels": held.pixels.shape[1], "classes": count_classes(borrowed, held)}
    own = read_recipe(recipe, fresh_copies(model, factory), **size)
    trained, listed = read.people["partition"] == "images", read.people["forget"]
    parts = trained & ~listed, listed, ~trained
    retain, forgotten, unseen = (Batches(held, np.flatnonzero(part), own) for part in parts)
    early = borrow(checkpoint, place).eval() if checkpoint is not None else None
    for network in (borrowed, early):
        if network is not None:
            set_aside(network, unused_parameters(network, held.inputs(retain.rows[:2])))
    task = Task(retain, forgotten, unseen, own, checkpoint=early, head=head)
    with _own_randomness(seed, borrowed):
        known = doubt_original(borrowed, task)
        unlearned = chosen(borrowed, task, seed=seed, **settings)
        if chosen.forgets:
            reestimate_statistics(unlearned, retain)
        if chosen.own_training:
            return unlearned.to(next(model.parameters()).device)
        reestimate_statistics(borrowed, retain)
        doubt_result(borrowed, unlearned, task, chosen, chosen.usual(own) | settings, known)
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


def read_recipe(
    given: Mapping[str, Any] | None,
    network: Callable[[], nn.Module],
    channels: int = 1,
    classes: int = 2,
) -> Recipe:
    """How the original was trained, as far as its user tells, and else as in ``RECIPE``.

    Raises:
        InputError: A field is not known, or its value cannot be.
    """
    told = {**RECIPE, **(given or {})}
    flip = bool(told.pop("horizontal_flip"))
    try:
        fields = Training.model_validate(told).model_dump()
    except ValidationError as error:
        faults = [describe_fault(fault, Training.model_fields) for fault in error.errors()]
        raise InputError("recipe", faults) from None
    return Recipe(network, channels, classes, **fields, horizontal_flip=flip)


def _check_head(model: nn.Module, name: str) -> None:
    known = [path for path, module in model.named_modules() if not any(module.children())]
    if name and name not in known:
        raise InputError("head", [f"{name!r} is no layer; choose from {', '.join(known)}"])


@contextmanager
def _own_randomness(seed: int, model: nn.Module) -> Iterator[None]:
    """Dropout draws from torch's global generators: seeded here, and put back in the end."""
    places = {p.device for p in model.parameters() if p.device.type == "cuda"}
    deterministic = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with torch.random.fork_rng(devices=list(places)), deterministic:
        torch.manual_seed(seed)
        yield
