"""Unlearning on the record: one call for a network of one's own, and the same call once more."""

import inspect
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from medunlearn.cohort.partition import TEST, TRAIN
from medunlearn.errors import InputError, choose_from
from medunlearn.evaluation.predictions import predict
from medunlearn.unlearning.call import RECIPE, find_method, read_recipe, unlearn
from medunlearn.unlearning.data import hold, read_set, read_sets
from medunlearn.unlearning.doubts import Doubt
from medunlearn.unlearning.network import borrow, check_alike, check_network
from medunlearn.unlearning.record import (
    PAGE,
    compare_list,
    compare_repeat,
    describe,
    doubt_folder,
    read_sealed,
    tensor_hash,
    write_record,
)

ARGUMENTS = frozenset(inspect.signature(unlearn).parameters)
"""Of ``unlearn``; whatever else it is given is a setting of the method."""
FUNCTION = "a function"
"""How a record tells of a scale that is no numbers."""


def unlearn_with_record(
    folder: Path | str,
    model: nn.Module,
    images: Any,
    labels: Any = None,
    *,
    forget: Any,
    patients: Any = None,
    sex: Any = None,
    test: Mapping[str, Any] | None = None,
    retrained: nn.Module | None = None,
    request: str = "",
    **call: Any,
) -> nn.Module:
    """Unlearn as ``unlearn`` does, and leave a record for people and for auditors.

    The folder gets ``unlearned.safetensors``, ``record.json`` and ``record.html``. They hold no
    image and no id. Of the request they tell row numbers in the images given, and their SHA-256.
    Warnings of ``unlearn`` are in it, too. The call prints the number (SHA-256) of the record.

    Args:
        folder: Appears whole, or not at all. It must not be there yet.
        model: As in ``unlearn``.
        images: All training images, as in ``unlearn``.
        labels: Class numbers, (n,), as in ``unlearn``.
        forget: Ids, rows or a mask: of a patient all images, or none.
        patients: Whose each image is, (n,). Without them each image is a patient of its own.
        sex: ``F``, ``M`` or none for each image, (n,). Results are then also told by sex.
        test: ``images``, ``labels`` and, where known, ``patients`` and ``sex``, of people whom
            neither training nor method has seen. Without them no attack can be measured.
        retrained: The network trained without these patients, by you or by ``unlearn`` with method
            ``retrain``. Default: none; the page then says that there is no honest comparison.
        request: A name of the request, such as a file number. It is written as given.
        call: All else that ``unlearn`` takes.

    Returns:
        The unlearned network.

    Raises:
        InputError: Something given cannot be used, or the folder is there already.
    """
    folder = Path(folder)
    faults = doubt_folder(folder)
    check_network(model, "model")
    faults += _doubt_retrained(retrained, model) if retrained is not None else []
    method, scale = _describe_method(call), call.get("normalise")
    given = {TRAIN: {"images": images, "labels": labels, "patients": patients, "sex": sex}}
    if test:
        strange, given[TEST] = sorted({*test} - {*given[TRAIN]}), dict(test)
        faults += [
            f"test: {key!r} is not known; {choose_from(key, given[TRAIN])}" for key in strange
        ]
    read = read_sets(given, forget, scale, faults)
    trained = read.people["partition"] == TRAIN
    data = {"pixels": read.pixels[: trained.sum()], "labels": read.labels[: trained.sum()]}
    mask = read.people.loc[trained, "forget"].to_numpy()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        unlearned = unlearn(model, *data.values(), forget=mask, patients=patients, **call)
        seconds = time.perf_counter() - start
    for each in caught:
        warnings.warn(each.message, stacklevel=2)
    networks = {"original": model, "unlearned": unlearned}
    networks |= {"retrained": retrained} if retrained is not None else {}
    place = str(call.get("device") or next(model.parameters()).device)
    held = hold(read, scale, borrow(model, place))
    cohort = read.people.assign(sample=np.arange(len(trained)), label=read.labels.cpu().numpy())
    content = describe(
        networks,
        {name: predict(borrow(each, place), held) for name, each in networks.items()},
        cohort,
        cohort.loc[cohort["forget"], "patient"].unique().tolist(),
        method=method,
        seconds={"unlearned": round(seconds, 3)},
        device=place,
        data=tensor_hash(data),
        request=request,
        warned=[str(each.message) for each in caught if each.category is Doubt],
        by_patient=patients is not None,
    )
    print(f"record: {folder / PAGE}, number: {write_record(folder, content, unlearned)}")
    return unlearned


def _describe_method(call: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked of ``unlearn``, as a record can hold it.

    Raises:
        InputError: There is no such method, or the recipe cannot be.
    """
    name, scale = call.get("method", "salun"), call.get("normalise")
    recipe = read_recipe(call.get("recipe"), nn.Identity)
    settings = {key: value for key, value in call.items() if key not in ARGUMENTS}
    numbers: Any = None if scale is None else FUNCTION
    if scale is not None and not callable(scale):
        numbers = [np.asarray(each, float).tolist() for each in scale]
    return {
        "name": name,
        "seed": call.get("seed", 0),
        "settings": find_method(name).usual(recipe) | settings,
        "found": "given" if settings else "usual",
        "recipe": {field: getattr(recipe, field) for field in RECIPE},
        "normalise": numbers,
        "head": call.get("head", ""),
    }


def _doubt_retrained(retrained: nn.Module, model: nn.Module) -> list[str]:
    """Whether it cannot be the model, trained without some patients."""
    check_alike(retrained, model, "retrained")
    if tensor_hash(retrained.state_dict()) != tensor_hash(model.state_dict()):
        return []
    remedy = "give a network that was trained without these patients, or leave it out"
    return [f"retrained: has the weights of the original: {remedy}"]


def verify_record(
    folder: Path | str,
    model: nn.Module | None = None,
    images: Any = None,
    labels: Any = None,
    *,
    patients: Any = None,
    forget: Any = None,
    **call: Any,
) -> list[str]:
    """Check a record: whether its files are as written, and whether the same call gives the same.

    Args:
        folder: Of the record.
        model: The original network, to repeat the call; then the images are needed, too.
        images: All training images, in the same order.
        labels: As in ``unlearn_with_record``.
        patients: As then.
        forget: As then, to see whether the record is of these patients; this needs no image.
        call: What else ``unlearn`` takes, as then. Head and a scale in numbers are read from the
            record where they are not given. Method, its settings, seed and recipe are always
            those of the record.

    Returns:
        What was found, a sentence each.

    Raises:
        InputError: Files were changed, the inputs are others, or the call gives other weights on
            the same type of processor.
    """
    record, faults = read_sealed(Path(folder)), list[str]()
    told = [
        f"every file is as it was written; number of the record: {record['sha256']}",
        compare_list(record, patients, forget, faults),
    ]
    if model is not None:
        given = {"images": images, "labels": labels, "patients": patients}
        call = _read_call(record, model, given, call, faults)
    if faults:
        raise InputError(str(folder), faults)
    if model is None:
        return [*told, "the call was not repeated: that needs the original network and its images"]
    again = unlearn(model, **call)
    place = str(call.get("device") or next(model.parameters()).device)
    return [*told, compare_repeat(record, again, place)]


def _read_call(
    record: Mapping[str, Any],
    model: nn.Module,
    given: Mapping[str, Any],
    call: Mapping[str, Any],
    faults: list[str],
) -> dict[str, Any]:
    """The call of a record, to be made again; what is not as then is added to the faults."""
    check_network(model, "model")
    if record["study"]:
        remedy = "leave the model out, or repeat the same make forget in the study"
        faults.append(f"model: the record belongs to the study {record['study']}; {remedy}")
        return {}
    method, listed = record["method"], record["request"]["rows"]
    again: dict[str, Any] = {"normalise": method["normalise"], "head": method["head"], **call}
    if isinstance(again["normalise"], str):
        faults.append(f"normalise: was {FUNCTION}, which no record holds; give it as then")
    if tensor_hash(model.state_dict()) != record["networks"]["original"]["sha256"]:
        faults.append("model: not that of this record")
    read = read_set("images", given, faults)
    if read is None:
        return {}
    if tensor_hash({"pixels": read.pixels, "labels": read.labels}) != record["training"]["sha256"]:
        faults.append("images and labels: not those of this record")
    again |= {"images": read.pixels, "labels": read.labels, "patients": given["patients"]}
    again |= {"forget": np.isin(np.arange(len(read.pixels)), listed), "method": method["name"]}
    return {**again, "seed": method["seed"], "recipe": method["recipe"], **method["settings"]}
