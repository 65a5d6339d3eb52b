"""The ledger: every model in a folder named by what decides it, whole or not there at all."""

import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medunlearn.sources import canonical_hash, file_hash
from medunlearn.study.draws import Draws
from medunlearn.study.ingredients import changes, describe, sources
from medunlearn.study.models import ModelSpec
from medunlearn.study.study import Study

State = Literal["done", "stale", "missing"]
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

        Sound is: every file named in the record is there and has the checksum it was written with.
        """
        if key not in self._verified:
            folder = self.folder / key
            try:
                record: dict[str, Any] = json.loads((folder / RECORD).read_text())
                sound = record["key"] == key and all(
                    file_hash(folder / name) == sha for name, sha in record["files"].items()
                )
            except (OSError, ValueError, KeyError, TypeError):
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
            source is not None and source["files"] == record["inputs"][key]
            for key, source in made_from.items()
        )

    def missing(self, specs: list[ModelSpec]) -> list[ModelSpec]:
        """Those that are not done; what was found sound before is looked at again."""
        self._verified.clear()
        return [spec for spec in specs if not self.is_done(spec)]

    def discard(self, spec: ModelSpec) -> None:
        """Take a model's folder away, if there is one."""
        path = self.path(spec)
        if path.exists():
            trash = Path(tempfile.mkdtemp(prefix=f".old-{os.getpid()}-", dir=self.folder))
            path.rename(trash / "model")  # gone at once, whatever the removal then takes
            shutil.rmtree(trash)
        self._verified.pop(path.name, None)

    @contextmanager
    def writing(self, spec: ModelSpec) -> Iterator[Path]:
        """A folder to put a model's files in; it gets its record and its name at the end.

        On any error, and on being killed, there is no model of this name. If another process has
        finished the same model meanwhile, that one stays.

        Yields:
            A temporary folder.
        """
        entry, start = self.entry(spec), time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".partial-{os.getpid()}-", dir=self.folder))
        try:
            yield folder
            sources = {key: self.record(key) for key in entry.inputs}
            record = {
                "key": entry.key,
                "title": spec.title,
                "status": "done",
                "ingredients": entry.ingredients,
                "inputs": {key: source["files"] for key, source in sources.items() if source},
                "files": {path.name: file_hash(path) for path in sorted(folder.iterdir())},
                "host": socket.gethostname(),
                "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                "seconds": round(time.monotonic() - start, 3),
            }
            (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")
            folder.chmod(0o755)  # mkdtemp's folders are private; results are to be read by others
            if not self.is_done(spec):
                self.discard(spec)
                os.rename(folder, self.path(spec))  # noqa: PTH104 - atomic, and fails if it is there
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed processes have left half-written; what is being written stays."""
        for folder in [*self.folder.glob(".partial-*"), *self.folder.glob(".old-*")]:
            if not _is_alive(folder.name.split("-")[1]):
                shutil.rmtree(folder, ignore_errors=True)

    def stale(self, specs: list[ModelSpec]) -> dict[ModelSpec, list[str]]:
        """Of the models given, those that exist in an older form, with the parts that changed."""
        records = [json.loads(p.read_text()) for p in self.folder.glob(f"[!.]*/{RECORD}")]
        records.sort(key=lambda record: str(record["finished"]))
        present = {record["title"]: record["ingredients"] for record in records}  # the newest
        return {
            spec: changes(present[spec.title], self.entry(spec).ingredients)
            for spec in specs
            if spec.title in present and self.record(self.entry(spec).key) is None
        }


def _is_alive(process: str) -> bool:
    """Whether a process of this machine, by its number, still runs."""
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
