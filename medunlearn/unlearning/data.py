"""A user's images, labels and patients: read once, checked, and as methods take them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, SequentialSampler

from medunlearn.batches import Images
from medunlearn.errors import InputError

Normalise = Callable[[Tensor], Tensor]
SHOWN = 5


@dataclass(frozen=True)
class OwnImages(Images):
    """Images in a user's scale.

    Args:
        normalise: From pixels as given to inputs of the network.
        dtype: Of the network's weights.
    """

    normalise: Normalise
    dtype: torch.dtype

    @cached_property
    def limits(self) -> tuple[float, float]:
        """Darkest and brightest number that ``inputs`` gives."""
        every = torch.arange(len(self.pixels), device=self.pixels.device).split(256)
        ends = [self.inputs(rows).aminmax() for rows in every]
        return min(float(low) for low, _ in ends), max(float(high) for _, high in ends)

    def inputs(self, rows: Tensor) -> Tensor:
        """The images of these rows as the network takes them."""
        return self.normalise(self.pixels.index_select(0, rows)).to(self.dtype)


class Labelled(NamedTuple):
    """Images, with one row of ``people`` for each.

    Pixels are (n, channels, height, width) as given, labels class numbers, (n,), int64. Columns of
    people: ``partition``, the name of a set; ``patient``, ``sex`` and, if it is read, ``forget``.
    """

    pixels: Tensor
    labels: Tensor
    people: pd.DataFrame


def read_sets(
    given: Mapping[str, Mapping[str, Any]], forget: Any, normalise: Any, faults: list[str]
) -> Labelled:
    """All sets of images, one after the other; no patient is in two of them.

    Args:
        given: By their names, the training images first: ``images``, an array or tensor (n,
            channels, height, width) or (n, height, width), and ``labels``, class numbers, (n,) or
            (n, 1); or a data set or loader of pairs as ``images`` alone. ``patients`` and ``sex``
            (F, M or none), (n,), where they are known.
        forget: As in ``unlearn``.
        normalise: As in ``unlearn``.
        faults: What was found wrong before.

    Raises:
        InputError: Every fault that was found.
    """
    found = {name: read_set(name, each, faults) for name, each in given.items()}
    sets, names = [each for each in found.values() if each], " and ".join(found)
    training, owners = next(iter(found.values())), [each.get("patients") for each in given.values()]
    if training:
        mask = read_forget(forget, owners[0], len(training.pixels), faults)
        if training.pixels.dtype == torch.uint8 and normalise is None:
            remedy = "(0.5, 0.25) is that of the study's own networks"
            asked = "expected (mean, deviation) of the network's training, of pixels from 0 to 1"
            faults.append(f"normalise: images are uint8; {asked}: {remedy}")
    kinds = {_kind(each.pixels, sets[0].pixels) for each in sets}
    if len(kinds) > 1:
        faults.append(f"{names}: images of {' and of '.join(sorted(kinds))}; expected one kind")
    known = [set(list_values(ids)) for ids in owners if ids is not None]
    if len(known) > 1 and known[0] & known[1]:
        faults.append(f"{names}: {len(known[0] & known[1])} patients are in both; expected none")
    if not faults:
        people = pd.concat([each.people for each in sets], ignore_index=True)
        owned = people.groupby(["partition", "patient"], sort=False, dropna=False)
        people["patient"] = owned.ngroup()
        people["forget"] = np.pad(mask, (0, len(people) - len(mask)))
        go, stay = (set(people.loc[people["forget"] == each, "patient"]) for each in (True, False))
        if torn := len(go & stay):
            asked = "expected all of their images, or none: or leave patients= out"
            faults.append(f"forget: {torn} patients in part; {asked}")
    if faults:
        raise InputError("unlearning", faults)
    # as the training images are: their hash is then the same with and without other sets
    pixels = torch.cat([each.pixels.to(sets[0].pixels) for each in sets])
    return Labelled(pixels, torch.cat([each.labels for each in sets]), people)


def _kind(pixels: Tensor, training: Tensor) -> str:
    """Shape and type of an image. Beside floats all but uint8, of another scale, become such."""
    fits = training.is_floating_point() and pixels.dtype != torch.uint8
    return f"{tuple(pixels.shape[1:])}, {training.dtype if fits else pixels.dtype}"


def read_set(what: str, given: Mapping[str, Any], faults: list[str]) -> Labelled | None:
    """Read one set (see ``read_sets``); what is wrong is added to the faults.

    Returns:
        None if it cannot be read. With other faults it lets other arguments still be checked.
    """
    images, labels = given.get("images"), given.get("labels")
    try:
        if labels is None:
            images, labels = _read_pairs(images)
        pixels, codes = _tensor(images), _tensor(labels)
        count = len(pixels)
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        remedy = "expected numbers, and of labels class numbers from 0"
        faults.append(f"{what}: {error}; {remedy}")
        return None
    own = list[str]()
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels
    codes = codes[:, 0] if codes.shape[1:] == (1,) else codes
    if pixels.ndim != 4 or pixels.shape[3] <= 4 < pixels.shape[1]:
        asked = "(n, channels, height, width), or (n, height, width) of grey images"
        remedy = "numpy.moveaxis(images, -1, 1) moves channels that are last"
        own.append(f"images have the shape {tuple(pixels.shape)}; expected {asked}: {remedy}")
    if codes.shape != (count,):
        asked = f"({count},): one class number for each image"
        own.append(f"labels have the shape {tuple(codes.shape)}; expected {asked}")
    elif bool(((codes != codes.long()) | (codes < 0)).any()):
        own.append("labels are not all whole numbers from 0: number the classes")
    usual = {"patients": range(count), "sex": [None] * count}
    names, sex = (list_values(x if given.get(k) is None else given[k]) for k, x in usual.items())
    if len(names) != count:
        own.append(f"{len(names)} patients given; expected {count}, one for each image")
    sex = [None if pd.isna(each) else each for each in sex]
    if len(sex) != count or not {*sex} <= {"F", "M", None}:
        own.append(f"sex: {len(sex)} given, {set(sex)}; expected {count} of F, M or None")
    faults += [f"{what}: {fault}" for fault in own]
    told = {"partition": what, "patient": names, "sex": pd.Series(sex, dtype=object)}
    return Labelled(pixels, codes.long(), pd.DataFrame({} if own else told))


def _read_pairs(source: Any) -> tuple[Tensor, Tensor]:
    """Images and labels of a data set or of a loader, in its order."""
    if isinstance(source, DataLoader):
        sampler = getattr(source.batch_sampler, "sampler", source.sampler)
        if not isinstance(sampler, SequentialSampler):
            raise ValueError("the loader shuffles, so rows have no meaning: give its data set")
        items, join = list(source), torch.cat
    elif isinstance(source, Dataset):
        items, join = [source[row] for row in range(len(source))], torch.stack  # type: ignore[arg-type]
    else:
        raise TypeError("labels are missing: give them, or a torch Dataset of (image, label)")
    parts = zip(*map(_pair, items), strict=True)
    images, labels = (join([*map(_tensor, part)]) for part in parts)
    return images, labels


def _pair(item: Any) -> tuple[Any, Any]:
    """Image and label of an item: a pair, or a mapping with these keys as in MONAI."""
    image, label = ("image", "label") if isinstance(item, Mapping) else (0, 1)
    return item[image], item[label]


def _tensor(given: Any) -> Tensor:
    """A plain tensor, of an array or of a subclass of tensors such as MONAI's."""
    if isinstance(given, Tensor):
        return given.detach().as_subclass(Tensor)
    return torch.as_tensor(np.asarray(given))


def read_forget(forget: Any, patients: Any, count: int, faults: list[str]) -> NDArray[np.bool_]:
    """Which images are to be forgotten, (count,).

    Args:
        forget: A boolean mask; ids, if there are patients; else row numbers.
        patients: Whose each image is, or none.
        count: Number of images.
        faults: What is found wrong is added here.
    """
    asked = [str(forget)] if isinstance(forget, str | Path) else list_values(forget)
    known = range(count) if patients is None else list_values(patients)
    if asked and all(isinstance(each, bool) for each in asked):
        if len(asked) != count:
            faults.append(f"forget: a mask of {len(asked)}; expected {count}, one for each image")
        asked, known = np.flatnonzero(asked).tolist(), range(count)
    elif strangers := sorted({str(each) for each in set(asked) - set(known)}):
        shown = ", ".join(strangers[:SHOWN]) + (" ..." if len(strangers) > SHOWN else "")
        where = f"a list of rows 0 to {count - 1}; for ids of patients give patients= too"
        among = where if patients is None else "a list of ids that are in patients"
        faults.append(f"forget: {len(strangers)} not found ({shown}); expected {among}")
    wanted = set(asked)
    chosen = np.array([each in wanted for each in known], bool)
    if not faults and not 0 < chosen.sum() < count:
        faults.append(f"forget: {chosen.sum()} of {count} images; expected some, and not all")
    return chosen


def list_values(given: Any) -> list[Any]:
    """Elements of an array, tensor, series, list or set, as Python's own numbers and texts."""
    plain = given.tolist() if hasattr(given, "tolist") else list(given)
    return [each.item() if isinstance(each, np.generic | Tensor) else each for each in plain]


def hold(given: Labelled, normalise: Any, model: nn.Module) -> OwnImages:
    """Images on the device of the model that takes them, scaled as ``unlearn`` was told."""
    weight = next(model.parameters())
    pixels, labels = given.pixels.to(weight.device), given.labels.to(weight.device)
    owners = torch.as_tensor(given.people["patient"].to_numpy(copy=True), device=weight.device)
    return OwnImages(pixels, labels, owners, _choose_scale(normalise, pixels), weight.dtype)


def _choose_scale(given: Any, pixels: Tensor) -> Normalise:
    """How pixels become inputs (see ``unlearn``)."""
    if given is None:
        return lambda x: x
    if callable(given):
        scale: Normalise = given
        return scale
    kind, unit = torch.get_default_dtype(), 255 if pixels.dtype == torch.uint8 else 1
    mean, deviation = (
        torch.as_tensor(x, dtype=kind, device=pixels.device).view(-1, 1, 1) for x in given
    )
    return lambda x: (x.to(kind) / unit - mean) / deviation


def count_classes(model: nn.Module, images: OwnImages) -> int:
    """Number of logits, as two images show.

    Raises:
        InputError: The network does not take the images, or has fewer logits than labels ask for.
    """
    inputs, name = images.inputs(torch.arange(2, device=images.labels.device)), type(model).__name__
    try:
        with torch.no_grad():
            classes = int(model(inputs).shape[1])
    except (RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        fault = f"does not take images of shape {tuple(inputs.shape)}: {error}"
        remedy = "expected (n, channels, height, width) as in its training"
        raise InputError(name, [f"{fault}; {remedy}"]) from None
    highest = int(images.labels.max())
    if highest >= classes:
        fault = f"has {classes} logits, but labels go up to {highest}: number the classes from 0"
        raise InputError(name, [fault])
    return classes
