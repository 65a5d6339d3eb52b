"""A user's images, labels and patients: read once, checked, and as methods take them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
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
        normalise: From pixels as given to inputs of the network; none where they are the study's.
        dtype: Of the network's weights.
        extremes: Darkest and brightest number of an input.
    """

    normalise: Normalise | None
    dtype: torch.dtype
    extremes: tuple[float, float] = (0.0, 1.0)

    @property
    def limits(self) -> tuple[float, float]:
        """Darkest and brightest number that ``inputs`` gives."""
        return self.extremes

    def inputs(self, rows: Tensor) -> Tensor:
        """The images of these rows as the network takes them."""
        if self.normalise is None:
            return super().inputs(rows).to(self.dtype)
        return self.normalise(self.pixels.index_select(0, rows)).to(self.dtype)


class Labelled(NamedTuple):
    """Pixels (n, channels, height, width) as given, and class numbers (n,), int64."""

    pixels: Tensor
    labels: Tensor


def choose_normalise(given: Normalise | tuple[Any, Any] | None, pixels: Tensor) -> Normalise | None:
    """How pixels become inputs (see ``unlearn``); none for the study's own scale of uint8."""
    if callable(given):
        return given
    grey = pixels.dtype == torch.uint8
    if given is None:
        return None if grey else lambda x: x
    kind, unit = torch.get_default_dtype(), 255 if grey else 1
    mean, deviation = (torch.as_tensor(x, dtype=kind, device=pixels.device) for x in given)
    mean, deviation = mean.view(-1, 1, 1), deviation.view(-1, 1, 1)
    return lambda x: (x.to(kind) / unit - mean) / deviation


def read_set(what: str, images: Any, labels: Any, faults: list[str]) -> Labelled | None:
    """Read images and labels, from arrays or from a data set or loader of pairs.

    Args:
        what: Name of the set, for messages.
        images: Array or tensor, (n, channels, height, width) or (n, height, width); or a data set
            or loader of pairs.
        labels: Class numbers, (n,) or (n, 1); none with a data set or loader.
        faults: What is found wrong is added here.

    Returns:
        None if images cannot be read. What else is wrong lets other arguments still be checked:
        labels that cannot be used are then zeros.
    """
    try:
        if labels is None:
            images, labels = _read_pairs(images)
        pixels = _tensor(images)
    except (TypeError, ValueError, RuntimeError) as error:
        faults.append(f"{what}: {error}")
        return None
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels
    told = f"{what}: images have the shape {tuple(pixels.shape)}; expected (n, channels, "
    if pixels.ndim != 4:
        faults.append(f"{told}height, width), or (n, height, width) of grey images")
        return None
    if pixels.shape[3] <= 4 < pixels.shape[1]:
        remedy = "channels seem to be last, move them by numpy.moveaxis(images, -1, 1)"
        faults.append(f"{told}h, w): {remedy}")
    return Labelled(pixels, _read_labels(what, labels, len(pixels), faults))


def _read_labels(what: str, labels: Any, count: int, faults: list[str]) -> Tensor:
    """Class numbers (count,), int64; zeros if a fault is added."""
    try:
        codes = _codes(labels)
    except (TypeError, ValueError) as error:
        faults.append(f"{what}: {error}")
        return torch.zeros(count).long()
    codes = codes[:, 0] if codes.ndim == 2 and codes.shape[1] == 1 else codes
    if codes.shape != (count,):
        asked = f"expected ({count},): one class number for each image"
        faults.append(f"{what}: labels have the shape {tuple(codes.shape)}; {asked}")
    elif not bool((codes == codes.long()).all()) or bool((codes < 0).any()):
        faults.append(f"{what}: labels are not all whole numbers from 0: number the classes")
    else:
        return codes.long()
    return torch.zeros(count).long()


def _read_pairs(source: Any) -> tuple[Any, Any]:
    """Images and labels of a data set or a loader, in its order."""
    if isinstance(source, DataLoader):
        if hasattr(source.dataset, "__getitem__") and not isinstance(
            source.sampler, SequentialSampler
        ):
            raise ValueError("the loader shuffles, so rows have no meaning: give its data set")
        images, labels = zip(*map(_pair, source), strict=True)
        return torch.cat([*map(_tensor, images)]), torch.cat([*map(_codes, labels)])
    if isinstance(source, Dataset):
        items = [_pair(source[i]) for i in range(len(source))]  # type: ignore[arg-type]
        images, labels = zip(*items, strict=True)
        return torch.stack([*map(_tensor, images)]), torch.stack([*map(_codes, labels)])
    raise TypeError("labels are missing: give them, or a torch Dataset of (image, label)")


def _pair(item: Any) -> tuple[Any, Any]:
    """Image and label of an item: a pair, or a mapping with these keys as in MONAI."""
    if isinstance(item, Mapping):
        if not {"image", "label"} <= item.keys():
            raise ValueError(f"an item has {', '.join(item)}; expected the keys image and label")
        return item["image"], item["label"]
    return item[0], item[1]


def _tensor(given: Any, asked: str = "expected numbers") -> Tensor:
    if isinstance(given, Tensor):
        return given.detach().as_subclass(Tensor)
    array = np.asarray(given)
    if isinstance(next(array.flat, None), str):
        raise TypeError(f"{asked}; texts were given")
    return torch.as_tensor(array)


def _codes(given: Any) -> Tensor:
    return _tensor(given, "labels: expected class numbers from 0")


def read_patients(patients: Any, count: int, faults: list[str]) -> NDArray[np.int64]:
    """A number for each patient, (count,); without patients each image is one of its own."""
    if patients is None:
        return np.arange(count)
    names = list_values(patients)
    if len(names) != count:
        faults.append(f"patients: {len(names)} given; expected {count}, one for each image")
        return np.arange(count)
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names])


def read_forget(forget: Any, patients: Any, count: int, faults: list[str]) -> NDArray[np.bool_]:
    """Which images are to be forgotten, (count,).

    Args:
        forget: A boolean mask; ids, if there are patients; else row numbers.
        patients: Whose each image is, or none.
        count: Number of images.
        faults: What is found wrong is added here.
    """
    if isinstance(forget, str | Path):
        remedy = 'expected a list, such as ["p17"]; of a file, Path("ids.txt").read_text().split()'
        faults.append(f"forget: {str(forget)!r} was given; {remedy}")
        return np.zeros(count, bool)
    asked = list_values(forget)
    if asked and all(isinstance(each, bool) for each in asked):
        if len(asked) != count:
            fault = f"forget: a mask of {len(asked)}; expected {count}, one for each image"
            faults.append(fault)
            return np.zeros(count, bool)
        chosen = np.array(asked)
    else:
        known = range(count) if patients is None else list_values(patients)
        strangers = sorted({str(each) for each in asked if each not in set(known)})
        if strangers:
            shown = ", ".join(strangers[:SHOWN]) + (" ..." if len(strangers) > SHOWN else "")
            where = f"rows 0 to {count - 1}; for ids of patients give patients= too"
            among = where if patients is None else "the ids in patients"
            faults.append(f"forget: {len(strangers)} not found ({shown}); expected {among}")
        wanted = set(asked)
        chosen = np.array([each in wanted for each in known], bool)
    if not faults and not 0 < chosen.sum() < count:
        fault = f"forget: {chosen.sum()} of {count} images; expected some, and not all"
        faults.append(fault)
    return chosen


def list_values(given: Any) -> list[Any]:
    """Elements of an array, tensor, series, list or set, as Python's own numbers and texts."""
    plain = given.tolist() if hasattr(given, "tolist") else list(given)
    return [each.item() if isinstance(each, np.generic | Tensor) else each for each in plain]


def hold(
    sets: Sequence[Labelled], patients: NDArray[np.int64], normalise: Any, model: nn.Module
) -> OwnImages:
    """All sets on the device of the model, one after the other.

    Args:
        sets: Of images of one shape.
        patients: Whose each image is.
        normalise: As its user gave it.
        model: Takes the inputs.
    """
    weight = next(model.parameters())
    pixels, labels = (torch.cat(list(each)).to(weight.device) for each in zip(*sets, strict=True))
    owners = torch.as_tensor(patients, device=weight.device)
    scale = choose_normalise(normalise, pixels)
    own = OwnImages(pixels, labels, owners, scale, weight.dtype)
    ends = [
        own.inputs(rows).aminmax()
        for rows in torch.arange(len(pixels), device=pixels.device).split(256)
    ]
    extremes = min(float(low) for low, _ in ends), max(float(high) for _, high in ends)
    return replace(own, extremes=extremes)


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
