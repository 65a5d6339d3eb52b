"""Unlearning on the record: one call for a network of one's own, and the same call once more."""

import inspect
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from medunlearn.batches import Recipe
from medunlearn.cohort.partition import TEST, TRAIN
from medunlearn.errors import InputError
from medunlearn.evaluation.predictions import predict
from medunlearn.unlearning.call import RECIPE, check_recipe, find_method, unlearn
from medunlearn.unlearning.data import (
    Labelled,
    count_classes,
    hold,
    list_values,
    read_forget,
    read_patients,
    read_set,
)
from medunlearn.unlearning.doubts import Doubt
from medunlearn.unlearning.network import borrow, check_alike, check_network
from medunlearn.unlearning.page import PAGE
from medunlearn.unlearning.record import (
    compare_list,
    compare_repeat,
    describe,
    read_sealed,
    refuse_existing,
    tensor_hash,
    write_record,
)

ARGUMENTS = frozenset(inspect.signature(unlearn).parameters)
"""Of ``unlearn``; whatever else it is given is a setting of the method."""


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
    found: str = "",
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
        found: How the settings were found; default: ``usual``, or ``given`` if some are given.
        call: All else that ``unlearn`` takes.

    Returns:
        The unlearned network.

    Raises:
        InputError: Something given cannot be used, or the folder is there already.
    """
    folder, method = Path(folder), find_method(call.setdefault("method", "salun"))
    refuse_existing(folder)
    _check_networks(model, retrained)
    scale = call["normalise"] = _plain_scale(call.get("normalise"))
    training = {"images": images, "labels": labels, "patients": patients, "sex": sex}
    sets, mask, cohort = _read(training, test or {}, forget)
    place = str(call.get("device") or next(model.parameters()).device)
    owners = cohort["patient"].to_numpy(copy=True)
    held = hold(sets, owners, scale, borrow(model, place))
    classes = count_classes(borrow(model, place).eval(), held)
    recipe = check_recipe({**RECIPE, **(call.get("recipe") or {})})
    usual = method.usual(Recipe(type(model), held.pixels.shape[1], classes, "batch", **recipe))
    settings = {key: value for key, value in call.items() if key not in ARGUMENTS}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        unlearned = unlearn(model, *sets[0], forget=mask, patients=patients, **call)
        seconds = time.perf_counter() - start
    for each in caught:
        warnings.warn(each.message, stacklevel=2)
    networks = {"original": model, "unlearned": unlearned}
    networks |= {"retrained": retrained} if retrained is not None else {}
    content = describe(
        networks,
        {name: predict(borrow(each, place), held) for name, each in networks.items()},
        cohort,
        np.unique(owners[: len(mask)][mask]).tolist(),
        method={
            "name": call["method"],
            "seed": call.get("seed", 0),
            "settings": usual | settings,
            "found": found or ("given" if settings else "usual"),
            "recipe": recipe,
            "normalise": "a function" if callable(scale) else scale,
            "head": call.get("head", ""),
        },
        seconds={"unlearned": round(seconds, 3)},
        device=place,
        data=tensor_hash(sets[0]._asdict()),
        request=request,
        warned=[str(each.message) for each in caught if each.category is Doubt],
        by_patient=patients is not None,
    )
    print(f"record: {folder / PAGE}, number: {write_record(folder, content, unlearned)}")
    return unlearned


def _check_networks(model: nn.Module, retrained: nn.Module | None) -> None:
    """Refuse what is no network, and what cannot be the model trained without some patients."""
    check_network(model, "model")
    if retrained is None:
        return
    check_alike(retrained, model, "retrained")
    if tensor_hash(retrained.state_dict()) == tensor_hash(model.state_dict()):
        remedy = "give a network that was trained without these patients, or leave it out"
        raise InputError("retrained", [f"has the weights of the original: {remedy}"])


def _plain_scale(given: Any) -> Any:
    """``normalise`` as a record can hold it: numbers and lists; a function stays one."""
    if given is None or callable(given):
        return given
    return [np.asarray(each, float).tolist() for each in given]


def _read(
    training: Mapping[str, Any], test: Mapping[str, Any], forget: Any
) -> tuple[list[Labelled], NDArray[np.bool_], pd.DataFrame]:
    """Training and test images, which training images to forget, and a table of all images.

    Raises:
        InputError: Every fault that was found.
    """
    given = {TRAIN: training} | ({TEST: test} if test else {})
    faults = [f"test: {key!r} is not known" for key in sorted(test.keys() - training.keys())]
    sets, tables, mask = list[Labelled](), list[pd.DataFrame](), np.zeros(0, bool)
    for part, each in given.items():
        if labelled := read_set(part, each.get("images"), each.get("labels"), faults):
            sets.append(labelled)
            tables.append(_tabulate(part, each, labelled, faults))
    if len(sets) == len(given):
        mask = read_forget(forget, training["patients"], len(tables[0]), faults)
    if not faults:
        owners = tables[0]["patient"]
        if torn := len(np.intersect1d(owners[mask], owners[~mask])):
            faults.append(f"forget: {torn} patients in part; expected all of their images, or none")
        if seen := len(_names(training) & _names(test)):
            faults.append(f"test: {seen} patients are also in training; expected none")
    if faults:
        raise InputError("record", faults)
    cohort = pd.concat(tables, ignore_index=True)
    cohort["patient"] = cohort.groupby(["partition", "patient"]).ngroup()
    return sets, mask, cohort.assign(sample=np.arange(len(cohort)))


def _names(people: Mapping[str, Any]) -> set[Any]:
    """Ids of patients, where they are told."""
    return set() if people.get("patients") is None else set(list_values(people["patients"]))


def _tabulate(
    part: str, given: Mapping[str, Any], labelled: Labelled, faults: list[str]
) -> pd.DataFrame:
    """Partition, patient, sex and label of each image; faults are added."""
    count, own = len(labelled.labels), list[str]()
    numbers = read_patients(given.get("patients"), count, own)
    told = [None] * count if given.get("sex") is None else list_values(given["sex"])
    sex = pd.Series([None if pd.isna(each) else each for each in told], dtype=object)
    if len(sex) != count or not sex.isin(["F", "M", None]).all():
        own.append(f"sex: {len(sex)} given, {set(sex)}; expected {count} of F, M or None")
    faults += [f"{part}: {fault}" for fault in own]
    labels = labelled.labels.cpu().numpy()
    table = {"partition": part, "patient": numbers, "label": labels}
    return pd.DataFrame(table).assign(sex=sex)


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
        call: ``holdout``, ``factory``, ``checkpoint`` or a function ``normalise``, if they were
            given then. All else is read from the record.

    Returns:
        What was found, a sentence each.

    Raises:
        InputError: Files were changed, the inputs are others, or the call gives other weights on
            the same type of processor.
    """
    record = read_sealed(Path(folder))
    rows = np.isin(np.arange(record["training"]["images"]), record["request"]["rows"])
    told = [f"every file is as it was written; number of the record: {record['sha256']}"]
    if model is None:
        told.append(compare_list(record, patients, forget))
        return [*told, "the call was not repeated: that needs the original network and its images"]
    check_network(model, "model")
    training, method = {"images": images, "labels": labels, "patients": patients}, record["method"]
    (data,), mask, _ = _read(training, {}, rows if forget is None else forget)
    original = record["networks"]["original"]["sha256"]
    alike = {
        "model": tensor_hash(model.state_dict()) == original,
        "images and labels": tensor_hash(data._asdict()) == record["training"]["sha256"],
        "forget": np.array_equal(mask, rows),
    }
    faults = [f"{what}: not those of this record" for what, same in alike.items() if not same]
    if isinstance(method.get("normalise"), str) and "normalise" not in call:
        faults.append("normalise: was a function, which no record holds; give it as then")
    if faults:
        raise InputError(str(folder), faults)
    call = {name: method[name] for name in ("normalise", "head")} | call
    call |= {"method": method["name"], "seed": method["seed"], "recipe": method["recipe"]}
    call |= {"forget": mask, "patients": patients, **method["settings"]}
    again = unlearn(model, *data, **call)
    place = str(call.get("device") or next(model.parameters()).device)
    return [*told, compare_repeat(record, again, place)]
