"""What was measured, as one JSON file for each device and as a table to read."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medunlearn.benchmark.measure import Line

HEAD = ("what", "who", "n", "min", "median", "images/s", "ratio (middle half of the rounds)")


def write_part(
    folder: Path, part: str, stamp: Mapping[str, object], lines: Sequence[Line]
) -> tuple[Path, Path]:
    """Put a part's lines in place of what was measured before; the other parts stay.

    Args:
        folder: Gets ``<device>.json`` and ``<device>.md``.
        part: Name of the part.
        stamp: As from ``measure.stamp``.
        lines: Its figures.

    Returns:
        Both files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", str(stamp["device"]).lower()).strip("-")
    path = folder / f"{name}.json"
    parts = json.loads(path.read_text()) if path.is_file() else {}
    parts[part] = {"stamp": dict(stamp), "lines": [asdict(line) for line in lines]}
    for target, text in ((path, json.dumps(parts, indent=1)), (path.with_suffix(".md"), "")):
        partial = target.with_suffix(target.suffix + ".partial")
        partial.write_text((text or "\n".join(make_table(parts))) + "\n")
        partial.replace(target)
    return path, path.with_suffix(".md")


def make_table(parts: Mapping[str, Any]) -> list[str]:
    """Lines in Markdown: for each part its stamp and a table.

    Args:
        parts: What the JSON file holds.
    """
    lines = []
    for part, content in parts.items():
        told = ", ".join(f"{name} {value}" for name, value in content["stamp"].items())
        lines += [f"**{part}**: {told}", "", f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
        lines += [f"| {' | '.join(_cells(line))} |" for line in content["lines"]]
        lines.append("")
    return lines


def _cells(line: Mapping[str, Any]) -> list[str]:
    ratio = "" if line["ratio"] is None else "{ratio:.2f} ({low:.2f} to {high:.2f})"
    return [
        line["what"],
        line["side"],
        str(line["n"]),
        _number(line["minimum"], line["unit"]),
        _number(line["median"], line["unit"]),
        "" if line["rate"] is None else f"{line['rate']:,.0f}",
        ratio.format(**line),
    ]


def _number(value: float, unit: str) -> str:
    """Three digits, or all before the point."""
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {unit}"
