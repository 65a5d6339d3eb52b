"""The store: every model in a folder named by what decides it, whole or not there at all."""

import json
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import uuid4

import numpy as np
from filelock import FileLock

from medunlearn.cohort.forget_sets import LISTED, ForgetSet, list_forget_set
from medunlearn.cohort.partition import TRAIN
from medunlearn.disk import now, read_record, told_when_full
from medunlearn.errors import InputError
from medunlearn.sources import canonical_hash, file_hash
from medunlearn.study.cells import Cell
from medunlearn.study.design import ModelSpec, made_from, references
from medunlearn.study.keys import changes, describe
from medunlearn.study.study import Study

if TYPE_CHECKING:
    from medunlearn.evaluation.difficulty import References

RECORD, LOCK = "record.json", ".lock"

State = Literal["done", "partial", "stale", "absent"]
"""A model is there; is being written, or its writer was killed; has an older form; or is not."""


class Entry(NamedTuple):
    """A model as the store knows it.

    Args:
        key: The hash of what decides it, and its folder's name.
        ingredients: What decides it (see ``keys.describe``).
        inputs: Keys of the models that it is made from.
    """

    key: str
    ingredients: dict[str, Any]
    inputs: list[str]


class Store:
    """Finds, checks and writes the models of a study.

    A look checks a record's signature and the sizes of its files. Reading checks their bytes.

    Args:
        study: Whose models these are.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.folder = study.folder / "models"
        self._entries: dict[ModelSpec, Entry] = {}
        self._verified: dict[str, dict[str, Any]] = {}
        self._drawn: dict[str, ForgetSet] = {}
        self._naming = FileLock(study.folder / ".models.lock")  # held by who names or removes

    def entry(self, spec: ModelSpec) -> Entry:
        """Key and ingredients of a model; its forget set is drawn if it was not yet."""
        if spec not in self._entries:
            inputs = [self.entry(source).key for source in made_from(self.study.profile, spec)]
            known = spec.cell is not None and not spec.cell.by_difficulty
            drawn = self.forget_set(spec) if known else None
            ingredients = describe(self.study, spec, drawn, inputs)
            self._entries[spec] = Entry(canonical_hash(ingredients)[:20], ingredients, inputs)
        return self._entries[spec]

    def forget_set(self, spec: ModelSpec) -> ForgetSet:
        """The patients a model is not to know, recorded under ``draws/``.

        Raises:
            FileNotFoundError: Easy and hard need the reference models, and one is not there.
            InputError: It cannot be drawn; or no study was opened with these listed patients.
        """
        cell, name = spec.cell, str(spec.draw)
        assert cell is not None, spec.title
        if name not in self._drawn:
            self._drawn[name] = self._draw(cell, spec.seed, name)
            self._drawn[name].write(self.study.folder / "draws")
        return self._drawn[name]

    def _draw(self, cell: Cell, seed: int, name: str) -> ForgetSet:
        """Listed patients are those that were recorded when a study was opened with the list."""
        table, confidence = self.study.cohort.table, None
        if cell.composition == LISTED:
            path = self.study.folder / "draws" / f"{name}.json"
            found = list_forget_set(table, (read_record(path) or {}).get("patients", []), str(path))
            if found.name != name:
                fault = "holds other patients than its name says; run again with FORGET"
                raise InputError(str(path), [fault])
            return found
        if cell.by_difficulty:
            from medunlearn.evaluation.difficulty import patient_confidence

            confidence = patient_confidence(self.references().confidence(), table)
        return cell.forget_set(table, seed, confidence)

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
        """The record of a whole model, else none: each file has the size that was written."""
        if key not in self._verified:
            folder = self.folder / key
            record = read_record(folder / RECORD) or {}
            with suppress(OSError, ValueError, KeyError):  # harmed, or of another version
                signed = record.pop("sha256") == canonical_hash(record) and record["key"] == key
                sizes = record["sizes"].items()
                if signed and all((folder / f).stat().st_size == size for f, size in sizes):
                    self._verified[key] = record
        return self._verified.get(key)

    def files(self, key: str) -> dict[str, str] | None:
        """Hashes of the files of a whole model by name, else none."""
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
        """Whether the model is there, whole, and made from the inputs that are there now."""
        key, _, inputs = self.entry(spec)
        for _ in range(2):
            there = {each: self.files(each) for each in inputs}
            if (self.record(key) or {}).get("inputs") == there:
                return all(map(self.is_done, made_from(self.study.profile, spec)))
            for each in (key, *inputs):  # perhaps made again since they were read
                self._verified.pop(each, None)
        return False

    def missing(self, specs: list[ModelSpec]) -> list[ModelSpec]:
        """Those that are not done; what was found whole before is looked at again."""
        self._verified.clear()
        return [spec for spec in specs if not self.is_done(spec)]

    def discard(self, spec: ModelSpec) -> None:
        """Take a model's folder away, if there is one."""
        trash = self.folder / f".partial-old-{uuid4().hex}"  # its name is free at once
        with suppress(FileNotFoundError):
            self.path(spec).rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
        self._verified.pop(self.entry(spec).key, None)

    def sweep(self) -> None:
        """Remove what killed processes have left half-written; what is being written stays."""
        with self._naming:
            for folder in self.folder.glob(".partial-*"):
                with suppress(OSError), FileLock(folder / LOCK, timeout=0):  # else it is held
                    shutil.rmtree(folder, ignore_errors=True)

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
        folder = self.folder / f".partial-{entry.key}-{uuid4().hex}"
        lock = FileLock(folder / LOCK)
        try:
            with told_when_full(self.folder):
                with self._naming:  # nobody sweeps what is not held yet
                    folder.mkdir(parents=True)
                    lock.acquire()
                yield folder
                self._seal(folder, entry, spec.title, time.monotonic() - start)
                with self._naming:
                    if not self.is_done(spec):
                        self.discard(spec)
                        (folder / LOCK).unlink()
                        folder.rename(self.path(spec))
        finally:
            lock.release()
            shutil.rmtree(folder, ignore_errors=True)

    def _seal(self, folder: Path, entry: Entry, title: str, seconds: float) -> None:
        """Write the signed record of a folder, with hash and size of every file."""
        files = sorted(path for path in folder.iterdir() if path.name != LOCK)
        record = {
            "key": entry.key,
            "title": title,
            "host": socket.gethostname(),
            "status": "done",
            "seconds": round(seconds, 3),
            "finished": now(),
            "ingredients": entry.ingredients,
            "inputs": {key: self.files(key) for key in entry.inputs},
            "files": {path.name: file_hash(path) for path in files},
            "sizes": {path.name: path.stat().st_size for path in files},
        }
        signed = {**record, "sha256": canonical_hash(record)}
        (folder / RECORD).write_text(json.dumps(signed, indent=1) + "\n")

    def stale(self, specs: list[ModelSpec]) -> dict[ModelSpec, list[str]]:
        """Of the models given, those that exist in an older form, with the parts that changed."""
        older: dict[str, dict[str, Any]] = {}
        for path in sorted(self.folder.glob(f"[!.]*/{RECORD}")):
            record = read_record(path) or {}
            if {"title", "ingredients"} <= set(record):
                older[record["title"]] = record["ingredients"]
        return {
            spec: changes(older[spec.title], self.entry(spec).ingredients)
            for spec in specs
            if spec.title in older and self.record(self.entry(spec).key) is None
        }

    def states(self, specs: list[ModelSpec]) -> dict[ModelSpec, State]:
        """The state of each model."""
        states: dict[ModelSpec, State] = dict.fromkeys(specs, "absent")
        states |= dict.fromkeys(self.stale(specs), "stale")
        written = {path.name.split("-")[1] for path in self.folder.glob(".partial-*")}
        states |= {spec: "partial" for spec in specs if self.entry(spec).key in written}
        return states | {spec: "done" for spec in specs if self.is_done(spec)}
