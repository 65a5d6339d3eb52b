"""The store: every model in a folder named by what decides it, whole or not there at all."""

import socket
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from filelock import FileLock

from medunlearn.cohort.forget_sets import LISTED, ForgetSet, list_forget_set
from medunlearn.cohort.partition import TRAIN
from medunlearn.disk import now, read_record, told_when_full
from medunlearn.errors import InputError
from medunlearn.sources import canonical_hash, file_hash
from medunlearn.study import folders
from medunlearn.study.design import ModelSpec, made_from, references
from medunlearn.study.keys import changes, describe
from medunlearn.study.study import Study

if TYPE_CHECKING:
    from medunlearn.evaluation.difficulty import References

State = Literal["done", "partial", "stale", "absent"]
"""A model is there; is being written, or its writer was killed; is there in an older form only; or
none of these."""


class Entry(NamedTuple):
    """A model as the store knows it: what decides it, and the hash of that, its folder's name."""

    key: str
    ingredients: dict[str, Any]

    @property
    def inputs(self) -> list[str]:
        """Keys of the models that it is made from."""
        return list(self.ingredients["inputs"])


class Store:
    """Finds, checks and writes the models of a study.

    A look checks a record's signature, and size and time of its files. Reading checks their bytes.

    Args:
        study: Whose models these are.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.folder = study.folder / "models"
        self._entries: dict[ModelSpec, Entry] = {}
        self._verified: dict[str, dict[str, Any]] = {}
        self._drawn: dict[str, ForgetSet] = {}
        # held by who names a model or takes it away: two would both move the same old folder
        self._naming = FileLock(study.folder / ".models.lock")

    def entry(self, spec: ModelSpec) -> Entry:
        """Key and ingredients of a model; its forget set is drawn if it was not yet."""
        if spec not in self._entries:
            inputs = [self.entry(source).key for source in made_from(self.study.profile, spec)]
            known = spec.cell is not None and not spec.cell.by_difficulty
            drawn = self.forget_set(spec) if known else None
            ingredients = describe(self.study, spec, drawn, inputs)
            self._entries[spec] = Entry(canonical_hash(ingredients)[:20], ingredients)
        return self._entries[spec]

    def forget_set(self, spec: ModelSpec) -> ForgetSet:
        """The patients a model is not to know, recorded under ``draws/``.

        Raises:
            FileNotFoundError: Easy and hard need the reference models, and one is not there.
            InputError: It cannot be drawn; or no study was opened with these listed patients.
        """
        if spec.cell is None:
            raise ValueError(f"{spec.title} has no forget set")
        name, table, confidence = str(spec.draw), self.study.cohort.table, None
        if name not in self._drawn and spec.cell.composition == LISTED:
            self._drawn[name] = self._recorded(name)
        if name not in self._drawn:
            if spec.cell.by_difficulty:
                from medunlearn.evaluation.difficulty import patient_confidence

                confidence = patient_confidence(self.references().confidence(), table)
            drawn = spec.cell.forget_set(table, spec.seed, confidence)
            drawn.write(self.study.folder / "draws")
            self._drawn[name] = drawn
        return self._drawn[name]

    def _recorded(self, name: str) -> ForgetSet:
        """Listed patients, as they were recorded when a study was opened with the list."""
        path = self.study.folder / "draws" / f"{name}.json"
        patients = (read_record(path) or {}).get("patients", [])
        found = list_forget_set(self.study.cohort.table, patients, str(path))
        if found.name != name:
            fault = "holds other patients than its name says; run again with FORGET"
            raise InputError(str(path), [fault])
        return found

    def references(self) -> "References":
        """What the reference models say of every image.

        Raises:
            FileNotFoundError: One of them is not there.
        """
        # a second to import: not for commands that only look
        from medunlearn.evaluation.difficulty import References
        from medunlearn.evaluation.predictions import read_predictions

        specs, table = references(self.study.profile), self.study.cohort.table
        logits = [read_predictions(self.file(spec, "predictions.parquet")) for spec in specs]
        unseen = [table["patient"].isin(self.forget_set(spec).patients) for spec in specs]
        training = (table["partition"] == TRAIN).to_numpy()
        return References(np.stack(logits), training & ~np.stack(unseen), table)

    def path(self, spec: ModelSpec) -> Path:
        """The model's folder, there or not."""
        return self.folder / self.entry(spec).key

    def record(self, key: str) -> dict[str, Any] | None:
        """The record of a whole and sound model, else none."""
        if key not in self._verified and (record := folders.read_sealed(self.folder / key)):
            self._verified[key] = record
        return self._verified.get(key)

    def files(self, key: str) -> dict[str, str] | None:
        """Hashes of the files of a whole and sound model by name, else none."""
        return (self.record(key) or {}).get("files")

    def file(self, spec: ModelSpec, name: str) -> Path:
        """A file of a model, for reading: it has the bytes that were written.

        Raises:
            FileNotFoundError: There is no such model, or it has no such file.
            InputError: The file has changed unseen; its model is taken away.
        """
        path, files = self.path(spec) / name, self.files(self.entry(spec).key) or {}
        if name not in files:
            raise FileNotFoundError(path)
        if file_hash(path) != files[name]:
            self.discard(spec)
            fault = "has other bytes than were written; its model was taken away: run again"
            raise InputError(str(path), [fault])
        return path

    def is_done(self, spec: ModelSpec) -> bool:
        """Whether the model is there, sound, and made from the inputs that are there now."""
        entry = self.entry(spec)
        if not (fits := self._fits(entry)):
            for key in (entry.key, *entry.inputs):  # perhaps made again since they were read
                self._verified.pop(key, None)
            fits = self._fits(entry)
        return fits and all(map(self.is_done, made_from(self.study.profile, spec)))

    def _fits(self, entry: Entry) -> bool:
        record = self.record(entry.key)
        return record is not None and all(
            record["inputs"].get(key, "unknown") == self.files(key) for key in entry.inputs
        )

    def missing(self, specs: list[ModelSpec]) -> list[ModelSpec]:
        """Those that are not done; what was found sound before is looked at again."""
        self._verified.clear()
        return [spec for spec in specs if not self.is_done(spec)]

    def discard(self, spec: ModelSpec) -> None:
        """Take a model's folder away, if there is one."""
        folders.remove(self.path(spec))
        self._verified.pop(self.entry(spec).key, None)

    def sweep(self) -> None:
        """Remove what killed processes have left half-written; what is being written stays."""
        with self._naming:
            folders.sweep(self.folder)

    @contextmanager
    def writing(self, spec: ModelSpec) -> Iterator[Path]:
        """A folder to put a model's files in; it gets its record and its name at the end.

        On any error, and on being killed, there is no model of this name. If another process has
        finished the same model meanwhile, that one stays.

        Yields:
            A folder that this process holds by a lock.

        Raises:
            DiskFullError: The disk is full; the message names it and the remedy.
        """
        entry, start = self.entry(spec), time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        held = folders.hold(self.folder, entry.key, self._naming)
        with told_when_full(self.folder), held as folder:
            yield folder
            record = {
                "key": entry.key,
                "title": spec.title,
                "host": socket.gethostname(),
                "status": "done",
                "seconds": round(time.monotonic() - start, 3),
                "finished": now(),
                "ingredients": entry.ingredients,
                "inputs": {key: self.files(key) for key in entry.inputs},
            }
            folders.seal(folder, record)
            with self._naming:
                list(self.folder.iterdir())  # what another host has named is to be seen here
                if not self.is_done(spec):
                    self.discard(spec)
                    folders.give_name(folder, self.path(spec))

    def stale(self, specs: list[ModelSpec]) -> dict[ModelSpec, list[str]]:
        """Of the models given, those that exist in an older form, with the parts that changed.

        Of several older forms the nearest is told: clocks jump, so the newest is not known.
        """
        older: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for path in sorted(self.folder.glob(f"[!.]*/{folders.RECORD}")):
            record = read_record(path) or {}
            if {"title", "ingredients"} <= set(record):
                older[record["title"]].append(record["ingredients"])
        reasons = {
            spec: [changes(old, self.entry(spec).ingredients) for old in older[spec.title]]
            for spec in specs
            if spec.title in older and self.record(self.entry(spec).key) is None
        }
        return {spec: min(told, key=len) for spec, told in reasons.items()}

    def states(self, specs: list[ModelSpec]) -> dict[ModelSpec, State]:
        """The state of each model."""
        states: dict[ModelSpec, State] = dict.fromkeys(specs, "absent")
        states |= dict.fromkeys(self.stale(specs), "stale")
        written = set(folders.partials(self.folder).values())
        states |= {spec: "partial" for spec in specs if self.entry(spec).key in written}
        return states | {spec: "done" for spec in specs if self.is_done(spec)}
