"""Forget sets: patients drawn once, recorded, and applied everywhere."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import TRAIN, patient_table, stratified_order
from medunlearn.disk import write_record
from medunlearn.errors import InputError
from medunlearn.randomness import stream

Composition = Literal["random", "female", "male", "easy", "hard"]
COMPOSITIONS: tuple[Composition, ...] = get_args(Composition)
_SEX_OF = {"female": "F", "male": "M"}
_HARDEST_FIRST = {"easy": -1, "hard": 1}

HALF: Literal["half"] = "half"
"""What a reference model does not see: drawn like a forget set, but never one."""

DEVELOPMENT: Literal["development"] = "development"
"""What settings are tuned on: the patients reserved for it, in no reported forget set."""

LISTED: Literal["listed"] = "listed"
"""Patients that somebody named: nothing of it is drawn."""

STREAM: Literal["stream"] = "stream"
"""Requests that came one after another: all patients of the requests so far."""

AT_ONCE: Literal["at_once"] = "at_once"
"""The patients of a whole stream, to be forgotten by one request."""

Kind = Composition | Literal["half", "development", "listed", "stream", "at_once"]

LEAST_REQUEST = 3
"""Patients that the first request of a stream has at least; a later one may have one less."""

DEVELOPMENT_SHARE = 0.10
"""Of the training patients, reserved for tuning before any forget set is drawn."""


@dataclass(frozen=True)
class ForgetSet:
    """A forget set: a composition, a size and whose order it was taken from.

    Args:
        composition: Which patients could be drawn; ``listed``: those that a list names;
            ``stream``, ``at_once``: as for ``random``.
        forget_size: Share of the training patients, 0 to 1.
        order: ``shared`` (one draw for all seeds) or ``seed<number>`` (a draw of that seed); of a
            list the beginning of its ``sha256``, which tells it from other lists.
        patients: The forgotten patients, ascending.
        sha256: Of the patients, so that a record cannot be mixed up.
    """

    composition: Kind
    forget_size: float
    order: str
    patients: tuple[int, ...]
    sha256: str

    @property
    def name(self) -> str:
        """Identifies the forget set within the study, for example ``random-0.1-shared``."""
        return forget_set_name(self.composition, self.forget_size, self.order)

    def write(self, folder: Path) -> Path:
        """Record it as ``<name>.json``, whole: notebooks may draw at once."""
        folder.mkdir(parents=True, exist_ok=True)
        write_record(folder / f"{self.name}.json", asdict(self))
        return folder / f"{self.name}.json"


def forget_set_name(composition: str, forget_size: float, order: str) -> str:
    """The name of a forget set, known before it is drawn."""
    return f"{composition}-{forget_size:g}-{order}"


def development_patients(table: pd.DataFrame) -> NDArray[np.int64]:
    """The training patients reserved for tuning: in no reported forget set, always retained.

    Args:
        table: The cohort, with partitions.
    """
    patients = patient_table(table[table["partition"] == TRAIN])
    order = stratified_order(patients, stream("development"))
    return np.sort(order[: round(DEVELOPMENT_SHARE * len(order))])


def draw_half(table: pd.DataFrame, seed: int) -> ForgetSet:
    """The half of the training patients that the reference model of this seed does not see.

    Seeds 2k and 2k + 1 leave out complementary halves, so that every patient is unseen by one
    model of each pair. Stratified like a random forget set; nobody is reserved.

    Args:
        table: The cohort: ``patient``, ``partition``, ``sex``, ``label``.
        seed: Of the reference model.
    """
    patients = patient_table(table[table["partition"] == TRAIN])
    order = stratified_order(patients, stream("order", HALF, seed // 2))
    middle = len(order) // 2
    chosen = order[middle:] if seed % 2 else order[:middle]
    return _record(HALF, 0.5, f"seed{seed}", np.sort(chosen))


def draw_forget_set(
    table: pd.DataFrame,
    composition: Kind,
    forget_size: float,
    order: str,
    confidence: pd.Series | None = None,
) -> ForgetSet:
    """Take the first patients of an order: sets of one order are nested in size.

    Args:
        table: The cohort: ``patient``, ``partition``, ``sex``, ``label``.
        composition: ``random`` (stratified by sex and rarest label); women or men only;
            ``easy`` or ``hard``: within each such stratum those of highest or lowest confidence;
            or ``stream`` or ``at_once``: the patients of ``random``.
        forget_size: Share of all training patients, 0 to 1.
        order: ``shared`` or ``seed<number>``; names the stream of random numbers.
        confidence: For easy and hard: of each training patient, from models that never saw it.

    Raises:
        InputError: The size is out of range, there are not as many patients of this composition,
            no patient or not every class would be retained, or one image alone be forgotten; a
            request of a stream has too few patients.
    """
    train = table[table["partition"] == TRAIN]
    patients = patient_table(train)
    eligible = patients.drop(development_patients(table))
    if composition in _SEX_OF:
        eligible = eligible[eligible["sex"] == _SEX_OF[composition]]
    wanted, subject = round(forget_size * len(patients)), f"forget_size {forget_size:g}"
    name = f"forget set {forget_set_name(composition, forget_size, order)}"
    if not (least := LEAST_REQUEST if composition == STREAM else 1) <= wanted <= len(eligible):
        limits = [f"{count / len(patients):.3f}" for count in (least, len(eligible))]
        fault = f"{subject} of {len(patients)} training patients is {wanted}: expected {least} to "
        fault += f"{len(eligible)}, which may be drawn for composition {composition!r} "
        fault += f"({DEVELOPMENT_SHARE:.0%} are reserved for tuning): {' to '.join(limits)}"
        raise InputError(name, [fault])
    first = None
    if composition in _HARDEST_FIRST:
        if confidence is None:
            raise ValueError(f"composition {composition!r} needs the patients' confidence")
        first = _HARDEST_FIRST[composition] * confidence[eligible.index]
    drawn_like = "random" if composition in {STREAM, AT_ONCE} else composition
    ordered = stratified_order(eligible, stream("order", drawn_like, order), first)
    chosen = np.sort(ordered[:wanted])
    _check_retention(train, chosen, f"{subject} ({composition})", name)
    return _record(composition, forget_size, order, chosen)


def list_refusals(table: pd.DataFrame, wanted: Iterable[tuple[str, float, str]]) -> list[str]:
    """Why `draw_forget_set` would refuse some of these forget sets.

    Args:
        table: The cohort: ``patient``, ``partition``, ``sex``, ``label``.
        wanted: Composition, size and order of each. Of one sex they are looked at where there are
            both; easy and hard ones wait for the reference models.
    """
    ready = {"random", STREAM, AT_ONCE, *(_SEX_OF if table["sex"].nunique() == 2 else ())}
    faults: list[str] = []
    for composition, size, order in sorted(set(wanted)):
        if composition in ready:
            try:
                draw_forget_set(table, cast("Kind", composition), size, order)
            except InputError as error:
                faults += error.faults
    return list(dict.fromkeys(faults))


def draw_development(table: pd.DataFrame) -> ForgetSet:
    """The patients reserved for tuning, as the forget set that settings are tuned on."""
    return _record(DEVELOPMENT, DEVELOPMENT_SHARE, "shared", development_patients(table))


def list_forget_set(table: pd.DataFrame, patients: Sequence[int], subject: str) -> ForgetSet:
    """Named training patients as a forget set, held to what holds for a drawn one.

    Args:
        table: The cohort, with partitions.
        patients: Their numbers, each a training patient; repeated ones count once.
        subject: Where they were named, for the error.

    Raises:
        InputError: There is none, not every class would be retained, or one image alone forgotten.
    """
    train, chosen = table[table["partition"] == TRAIN], np.unique(np.array(patients, np.int64))
    if not len(chosen):
        raise InputError(subject, ["no patient is named; expected at least one"])
    _check_retention(train, chosen, "the list", subject)
    drawn = _record(LISTED, len(chosen) / train["patient"].nunique(), "", chosen)
    return replace(drawn, order=drawn.sha256[:8])


def _check_retention(
    train: pd.DataFrame, chosen: NDArray[np.int64], what: str, subject: str
) -> None:
    """Refuse a set that takes a whole class out of training, or is a single image."""
    inside = train["patient"].isin(chosen)
    faults = [
        f"{what} takes every image of class code {code} "
        "out of training; expected at least one to be retained: forget fewer patients"
        for code in sorted(set(train["label"]) - set(train.loc[~inside, "label"]))
    ]
    if inside.sum() == 1:  # batch norm cannot learn from a feature map of one image, one pixel
        faults.append(
            f"{what} is a single image, which methods that learn on the forget set cannot use; "
            "expected at least 2: forget more patients"
        )
    if faults:
        raise InputError(subject, faults)


def _record(
    composition: Kind,
    forget_size: float,
    order: str,
    patients: NDArray[np.int64],
) -> ForgetSet:
    ids = tuple(int(patient) for patient in patients)
    digest = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
    return ForgetSet(composition, forget_size, order, ids, digest)
