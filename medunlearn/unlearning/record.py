"""The deletion record: a folder with unlearned weights, what was done, and what was measured.

It holds no image and no id.
"""

import hashlib
import inspect
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import torch
from jinja2 import Template
from numpy.typing import NDArray
from torch import Tensor, nn

from medunlearn import study as studies
from medunlearn.cohort.partition import TRAIN
from medunlearn.cost import stamp
from medunlearn.disk import now, read_record, told_when_full
from medunlearn.errors import InputError
from medunlearn.methods import get_method
from medunlearn.models import save_weights
from medunlearn.sources import canonical_hash, file_hash
from medunlearn.study.report import code_version
from medunlearn.study.study import PROJECT
from medunlearn.unlearning.data import list_values, read_forget
from medunlearn.unlearning.evidence import (
    ATTACKS,
    FEWEST,
    TEXTS,
    main_table,
    measure,
    tell_row,
)

RECORD, WEIGHTS, PAGE = "record.json", "unlearned.safetensors", "record.html"
DECISIVE = ("device", "torch", "python", "threads", "code")
"""Where these are alike, the same call gives the same bytes."""


def describe(
    networks: Mapping[str, nn.Module],
    logits: Mapping[str, NDArray[np.float32]],
    cohort: pd.DataFrame,
    forgotten: Sequence[int],
    *,
    method: Mapping[str, Any],
    seconds: Mapping[str, float],
    device: str,
    data: str,
    request: str = "",
    warned: Sequence[str] = (),
    by_patient: bool = True,
    study: str = "",
) -> dict[str, Any]:
    """The content of a record.

    Args:
        networks: ``original``, ``unlearned`` and, where there is one, ``retrained``.
        logits: Of each network, (samples, classes).
        cohort: As ``evidence.measure`` takes it.
        forgotten: Patients, by their numbers in the cohort.
        method: Its ``name``, ``seed``, all ``settings``, and how they were ``found``.
        seconds: In which each network was made, where that is known.
        device: Where they were made.
        data: Hash of what the original was trained on.
        request: Its name.
        warned: What looked wrong on the way.
        by_patient: Whether it was told whose each image is; else each was taken for a patient.
        study: Title of the study whose own network this is.
    """
    training, lock = cohort[cohort["partition"] == TRAIN], PROJECT / "requirements.lock"
    listed = training[training["patient"].isin(forgotten)]
    rows, chosen = listed["sample"].tolist(), get_method(method["name"])
    idea = (inspect.getdoc(inspect.getmodule(chosen.function)) or "").partition("\n")[0]
    limits = [
        "always",
        "study" if study else "",
        "compared" if "retrained" in networks else "alone",
    ]
    measured = measure(logits, cohort, forgotten)
    tried = any(row["measure"] in ATTACKS for row in measured)
    limits += ["attacked" if tried else "unattacked"]
    limits += ["few", "copies", "law"]
    return {
        "warnings": list(warned),
        "study": study,
        "request": {
            "name": request,
            "patients": listed["patient"].nunique() if by_patient else None,
            "images": len(rows),
            "rows": rows,
            "sha256": canonical_hash(rows),
        },
        "training": {
            "patients": training["patient"].nunique() if by_patient else None,
            "images": len(training),
            "sha256": data,
        },
        "networks": {
            name: {"class": type(network).__name__, "sha256": tensor_hash(network.state_dict())}
            for name, network in networks.items()
        },
        "method": {**method, "label": chosen.label, "idea": idea},
        "environment": {
            **_environment(device),
            "lock": file_hash(lock) if lock.is_file() else None,
            "finished": now(),
        },
        "seconds": dict(seconds),
        "measured": measured,
        "not_proven": [TEXTS["limits"][each] for each in limits if each],
    }


def _environment(device: str) -> dict[str, Any]:
    return {**stamp(device), "code": code_version()}


def tensor_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and bytes, whatever file holds them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        plain = tensor.detach().cpu().contiguous().flatten()
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def render(record: Mapping[str, Any]) -> str:
    """The record as HTML that needs no other file."""
    template = Template(Path(__file__).with_name(PAGE).read_text("utf-8"), autoescape=True)
    page: str = template.render(
        record=record,
        words=TEXTS["words"],
        style=Path(studies.__file__).with_name("report.css").read_text("utf-8"),
        accuracy=main_table(record),
        attacks=main_table(record, *ATTACKS),
        few=FEWEST,
        tell=tell_row,
    )
    return page


def doubt_folder(folder: Path) -> list[str]:
    """Whether a record would overwrite something."""
    remedy = "a record is never overwritten: give another folder, or move it away"
    return [f"{folder} is there already, and {remedy}"] if folder.exists() else []


def write_record(folder: Path, content: Mapping[str, Any], unlearned: nn.Module) -> str:
    """Write a record, by one rename at the end.

    Args:
        folder: Not there yet.
        content: As from ``describe``.
        unlearned: The network after unlearning.

    Returns:
        The record's seal: the SHA-256 of all of it.

    Raises:
        InputError: The folder is there by now.
        DiskFullError: Nothing was written.
    """
    partial = folder.with_name(f".{folder.name}-{uuid4().hex[:8]}.partial")
    try:
        with told_when_full(folder.parent):
            partial.mkdir(parents=True)
            save_weights(unlearned, partial / WEIGHTS)
            (partial / PAGE).write_text(render(content), encoding="utf-8")
            files = {name: file_hash(partial / name) for name in (WEIGHTS, PAGE)}
            record = {**content, "files": files}
            seal = canonical_hash(record)
            text = json.dumps({**record, "sha256": seal}, indent=1) + "\n"
            (partial / RECORD).write_text(text, encoding="utf-8")
            if faults := doubt_folder(folder):  # a rename replaces an empty folder
                raise InputError("record", faults)
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return seal


def read_sealed(folder: Path) -> dict[str, Any]:
    """The content of a record all of whose files are as they were written.

    Raises:
        InputError: Something was changed or is missing; every such file is named.
    """
    record = read_record(folder / RECORD)
    if record is None or not isinstance(files := record.get("files"), dict):
        raise InputError(str(folder), [f"holds no whole {RECORD}; expected a folder with a record"])
    faults = [
        f"{name} is missing or has other bytes than were written"
        for name, sha in files.items()
        if not (path := folder / name).is_file() or file_hash(path) != sha
    ]
    signed = {key: value for key, value in record.items() if key != "sha256"}
    if canonical_hash(signed) != record.get("sha256"):
        faults.append(f"{RECORD} has another content than was written")
    if faults:
        raise InputError(str(folder), [*faults, "do not rely on this record"])
    return record


def compare_list(record: Mapping[str, Any], patients: Any, forget: Any, faults: list[str]) -> str:
    """What it says of a list of patients that it is compared with the rows of a record.

    Args:
        record: As from ``read_sealed``.
        patients: Whose each training image is, or none.
        forget: The list, or none.
        faults: It is added here that the list names other images, or cannot be read.
    """
    if record["study"]:
        return "patients were not checked: repeat the same make forget in the study"
    if forget is None:
        return "patients were not checked: give forget= and patients= of that call"
    count, own = record["training"]["images"], list[str]()
    if patients is not None and (given := len(list_values(patients))) != count:
        own.append(f"patients: {given} given; expected {count}, one for each training image")
    rows = np.flatnonzero(read_forget(forget, patients, count, own)).tolist()
    if not own and rows != record["request"]["rows"]:
        own.append("forget: not those of this record")
    faults += own
    return "the images of this list are those of the record"


def compare_repeat(record: Mapping[str, Any], unlearned: nn.Module, device: str) -> str:
    """What it says of a record that its call was repeated.

    Args:
        record: As from ``read_sealed``.
        unlearned: What the same call gave now.
        device: Where.

    Raises:
        InputError: It has other weights, although the processor and what else decides are the same.
    """
    then, here = record["environment"], _environment(device)
    other = [
        f"{what} {here[what]}, not {then[what]}" for what in DECISIVE if here[what] != then[what]
    ]
    where = f"here ({'; '.join(other)})" if other else "here"
    if tensor_hash(unlearned.state_dict()) == record["networks"]["unlearned"]["sha256"]:
        return f"the same call gave the same bytes {where}"
    if other:
        return f"the same call gave other bytes {where}: this proves nothing, repeat it there"
    remedy = "give holdout, factory, checkpoint and normalise as then"
    raise InputError("record", [f"the same call gave other bytes {where}: {remedy}"])
