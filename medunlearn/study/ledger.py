"""The ledger: every model in a folder named by what decides it, whole or not there at all."""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from medunlearn.disk import told_when_full
from medunlearn.sources import canonical_hash, file_hash
from medunlearn.study.draws import Draws
from medunlearn.study.ingredients import changes, describe, sources
from medunlearn.study.models import ModelSpec
from medunlearn.study.records import (
    forget_failures,
    note_failure,
    now,
    read_failures,
    read_record,
)
from medunlearn.study.study import Study
from medunlearn.study.writers import is_abandoned, make_folder, writer_of

State = Literal["done", "partial", "failed", "stale", "absent"]
"""A model is there; is being written, or its writer was killed; could not be made the last time;
is there in an older form only; or none of these."""

RECORD = "record.json"


@dataclass(frozen=True)
class Entry:
    """A model as the ledger knows it.

    Args:
        spec: Which model.
        key: Name of its folder.
        ingredients: Everything that decides it, by part; the key is their hash.
        inputs: Keys of the models it is made from.
    """

    spec: ModelSpec
    key: str
    ingredients: dict[str, Any]
    inputs: tuple[str, ...]


class Ledger:
    """Finds, checks and writes the models of a study.

    Args:
        study: Whose models these are.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.folder = study.folder / "models"
        self.draws = Draws(study, self.path)
        self._entries: dict[ModelSpec, Entry] = {}
        self._verified: dict[str, dict[str, Any]] = {}
        # held by who names a model or takes it away: two would both move the same old folder
        self._naming = FileLock(study.folder / ".models.lock")

    def entry(self, spec: ModelSpec) -> Entry:
        """Key and ingredients of a model; its forget set is drawn if it was not yet."""
        if spec not in self._entries:
            made_from = tuple(self.entry(source).key for source in sources(self.study, spec))
            ingredients = describe(self.study, self.draws, spec, made_from)
            key = canonical_hash(ingredients)[:20]
            self._entries[spec] = Entry(spec, key, ingredients, made_from)
        return self._entries[spec]

    def path(self, spec: ModelSpec) -> Path:
        """The model's folder, there or not."""
        return self.folder / self.entry(spec).key

    def record(self, key: str) -> dict[str, Any] | None:
        """The record of a whole and sound folder, else none.

        Sound is: every file named in the record is there and has the checksum it was written with,
        and so has the record itself.
        """
        if key not in self._verified:
            folder = self.folder / key
            try:
                record: dict[str, Any] = json.loads((folder / RECORD).read_text())
                signed = record.pop("sha256") == canonical_hash(record) and record["key"] == key
                sound = signed and all(
                    file_hash(folder / name) == sha for name, sha in record["files"].items()
                )
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                return None
            if not sound:
                return None
            self._verified[key] = record
        return self._verified[key]

    def is_done(self, spec: ModelSpec) -> bool:
        """Whether the model is there, sound, and made from the inputs that are there now."""
        entry = self.entry(spec)
        record = self.record(entry.key)
        if record is None:
            return False
        made_from = {key: self.record(key) for key in entry.inputs}
        return all(
            source is not None and source["files"] == record["inputs"].get(key)
            for key, source in made_from.items()
        )

    def missing(self, specs: list[ModelSpec]) -> list[ModelSpec]:
        """Those that are not done; what was found sound before is looked at again."""
        self._verified.clear()
        return [spec for spec in specs if not self.is_done(spec)]

    def discard_outdated(self, specs: list[ModelSpec]) -> None:
        """Take away what was made from inputs that are gone; of those given, inputs come first."""
        for spec in specs:
            if not self.is_done(spec):
                with self._naming:
                    self._verified.pop(self.entry(spec).key, None)  # perhaps finished just now
                    if not self.is_done(spec):
                        self.discard(spec)

    def discard(self, spec: ModelSpec) -> None:
        """Take a model's folder away, if there is one."""
        path = self.path(spec)
        if path.exists():
            trash = make_folder(self.folder, ".old", path.name)
            with suppress(FileNotFoundError):  # another process was quicker
                path.rename(trash / "model")  # gone at once, whatever the removal then takes
            shutil.rmtree(trash, ignore_errors=True)
        self._verified.pop(path.name, None)

    @contextmanager
    def writing(self, spec: ModelSpec) -> Iterator[Path]:
        """A folder to put a model's files in; it gets its record and its name at the end.

        On any error, and on being killed, there is no model of this name; an error is noted beside
        the models until the model is made. If another process has finished the same model
        meanwhile, that one stays.

        Yields:
            A temporary folder, whose name says who writes which model.

        Raises:
            DiskFullError: The disk is full; the message names it and the remedy.
        """
        entry, start = self.entry(spec), time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with told_when_full(self.folder):
                folder = make_folder(self.folder, ".partial", entry.key)
                try:
                    yield folder
                    self._write_record(entry, folder, time.monotonic() - start)
                    self._give_name(entry, folder)
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
        except Exception as fault:
            seconds = time.monotonic() - start
            note_failure(self.folder, entry.key, spec.title, fault, seconds)
            raise
        forget_failures(self.folder, entry.key, spec.title)

    def _write_record(self, entry: Entry, folder: Path, seconds: float) -> None:
        sources = {key: self.record(key) for key in entry.inputs}
        record = {
            "key": entry.key,
            "title": entry.spec.title,
            "status": "done",
            "ingredients": entry.ingredients,
            "inputs": {key: source["files"] for key, source in sources.items() if source},
            "files": {path.name: file_hash(path) for path in sorted(folder.iterdir())},
            "host": socket.gethostname(),
            "finished": now(),
            "seconds": round(seconds, 3),
        }
        signed = {**record, "sha256": canonical_hash(record)}
        (folder / RECORD).write_text(json.dumps(signed, indent=1) + "\n")

    def _give_name(self, entry: Entry, folder: Path) -> None:
        folder.chmod(0o755)  # a temporary folder is private; results are to be read by others
        with self._naming:
            list(self.folder.iterdir())  # what another host has named is to be seen here
            if not self.is_done(entry.spec):
                self.discard(entry.spec)
                os.rename(folder, self.path(entry.spec))  # noqa: PTH104 - atomic; fails if it is there

    def failures(self, specs: list[ModelSpec]) -> dict[ModelSpec, dict[str, Any]]:
        """Of the models given, those that could not be made: error, host, seconds and when."""
        noted = read_failures(self.folder)
        return {
            spec: noted[key]
            for spec in specs
            if (key := self.entry(spec).key) in noted and not self.is_done(spec)
        }

    def partials(self) -> list[Path]:
        """Folders of models that are being written, or whose writer was killed."""
        return sorted(self.folder.glob(".partial-*"))

    def states(self, specs: list[ModelSpec]) -> dict[ModelSpec, State]:
        """The state of each model."""
        failed, stale = self.failures(specs), self.stale(specs)
        writers = [writer_of(folder) for folder in self.partials()]
        written = {writer.key for writer in writers if writer}

        def state(spec: ModelSpec) -> State:
            if self.is_done(spec):
                return "done"
            if self.entry(spec).key in written:
                return "partial"
            return "failed" if spec in failed else "stale" if spec in stale else "absent"

        return {spec: state(spec) for spec in specs}

    def sweep(self) -> None:
        """Remove what killed processes have left half-written; what is being written stays.

        Of a process of another machine it is not known whether it lives: what it writes is removed
        only when nothing has happened there for two days.
        """
        for folder in [*self.partials(), *self.folder.glob(".old-*")]:
            if is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def stale(self, specs: list[ModelSpec]) -> dict[ModelSpec, list[str]]:
        """Of the models given, those that exist in an older form, with the parts that changed.

        Of several older forms the nearest is told: clocks jump, so the newest is not known.
        """
        found = [read_record(path) for path in sorted(self.folder.glob(f"[!.]*/{RECORD}"))]
        older: dict[str, list[dict[str, Any]]] = {}
        for record in found:
            if record and {"title", "ingredients"} <= set(record):
                older.setdefault(record["title"], []).append(record["ingredients"])
        reasons = {}
        for spec in specs:
            entry = self.entry(spec)
            if spec.title in older and self.record(entry.key) is None:
                told = [changes(each, entry.ingredients) for each in older[spec.title]]
                reasons[spec] = min(told, key=len)
        return reasons
