"""A cohort's table and record on disk: written whole, and believed only with their checksums."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from medunlearn.cohort.pixels import is_sound
from medunlearn.disk import written_whole
from medunlearn.sources import canonical_hash, file_hash

TABLE, RECORD = "cohort.parquet", "cohort.json"


def keep(folder: Path, table: pd.DataFrame, record: Mapping[str, Any]) -> None:
    """Write a cohort's table, then its record with the table's checksum.

    Two notebooks opened at once may both do so: they write the same.

    Args:
        folder: Of the study; made if it is not there.
        table: One row for each image.
        record: What else is to be known; ``pixels`` names a file of the cache.

    Raises:
        DiskFullError: What was there before stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / TABLE) as partial:
        table.to_parquet(partial, index=False)
        content = {**record, "table": file_hash(partial)}
    with written_whole(folder / RECORD) as partial:
        signed = {**content, "checksum": canonical_hash(content)}
        partial.write_text(json.dumps(signed, indent=1) + "\n")


def read_kept(folder: Path, cache: Path) -> dict[str, Any] | None:
    """The record of a cohort; none if it, the table or the pixels are not as they were written.

    Args:
        folder: Of the study.
        cache: Where the pixels lie.
    """
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
        signed = record.pop("checksum") == canonical_hash(record)
        whole = signed and record["table"] == file_hash(folder / TABLE)
        return record if whole and is_sound(cache / record["pixels"]) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
