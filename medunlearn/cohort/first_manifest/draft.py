"""A manifest while it is being guessed, and as commented text."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from medunlearn.cohort.manifest import FILL_IN

SHOWN = 8


@dataclass
class Draft:
    """Fields of a manifest in the order in which they are written, and a remark on each."""

    fields: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: object, note: str = "") -> None:
        """Set a field, ``label.column`` being one of a group."""
        group, _, inner = name.partition(".")
        if inner:
            self.fields.setdefault(group, {})[inner] = value
        else:
            self.fields[group] = value
        if note:
            self.notes[name] = note

    def add(self, name: str, value: Mapping[str, object], note: str = "") -> None:
        """Append a rule to a list of rules."""
        self.fields.setdefault(name, []).append(dict(value))
        if note:
            self.notes[name] = "; ".join(filter(None, [self.notes.get(name), note]))

    @property
    def told(self) -> list[str]:
        """Every guess, for people."""
        return [f"{name}: {self._value(name)}  ({note})" for name, note in self.notes.items()]

    def _value(self, name: str) -> str:
        group, _, inner = name.partition(".")
        value = self.fields.get(group)
        if inner and isinstance(value, dict):
            value = value.get(inner)
        return "-" if value is None else to_yaml(value)

    def text(self) -> str:
        """The manifest as YAML, each remark above its field."""
        lines: list[str] = []
        names = [*self.fields, *(n for n in self.notes if n.partition(".")[0] not in self.fields)]
        for name in names:
            lines += _comment(self.notes.get(name), "")
            if name in self.fields:
                lines += self._lines(name, self.fields[name])
        return "\n".join(lines) + "\n"

    def _lines(self, name: str, value: object) -> list[str]:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return [f"{name}:", *(f"  - {to_yaml(rule)}" for rule in value)]
        if not isinstance(value, dict):
            return [f"{name}: {to_yaml(value)}"]
        lines = [f"{name}:"]
        inner = dict.fromkeys(
            [*value, *(n.split(".")[1] for n in self.notes if n[: len(name) + 1] == f"{name}.")]
        )
        for part in inner:
            lines += _comment(self.notes.get(f"{name}.{part}"), "  ")
            if part in value:
                lines.append(f"  {part}: {to_yaml(value[part])}")
        return lines


def fill_in(what: str) -> str:
    """Stands where nothing could be guessed; ``load_manifest`` refuses it by name."""
    return f"{FILL_IN} {what}"


def quote(values: object) -> str:
    """Some words of a table, safe in a comment."""
    words = [repr(str(value)[:40]) for value in values]  # type: ignore[attr-defined]
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


def to_yaml(value: object) -> str:
    """One value on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _comment(note: str | None, indent: str) -> list[str]:
    if not note:
        return []
    return textwrap.wrap(note, 98, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ")
