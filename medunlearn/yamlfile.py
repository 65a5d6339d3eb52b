"""YAML files that users write: read safely, and told all their faults at once."""

import reprlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml
from pydantic_core import ErrorDetails

from medunlearn.errors import InputError, did_you_mean

RULES = {
    *("values", "threshold", "equals", "contains", "mentions", "one_hot"),
    *("one_of", "none_of", "above", "below", "extract", "compose"),
}
SHORT = reprlib.Repr()  # YAML aliases can stand for a value of any length
SHORT.maxstring = SHORT.maxother = 80
REMEDIES = {
    "string_type": "give a text, and put a number, date, yes or no in quotes",
    "int_type": "give a whole number without quotes",
    "bool_type": "give true or false without quotes",
    "union_tag_not_found": "add its rule",
}


class _Loader(yaml.SafeLoader):
    """Notes repeated keys: YAML itself would keep the last of two and say nothing."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.repeated: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and first.setdefault(key.value, line) != line:
                self.repeated.append(
                    f"line {line}: {key.value!r} was given in line {first[key.value]}; "
                    "remove one of the two"
                )
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The fields of the file, and its repeated keys as faults.

    Raises:
        InputError: The file cannot be read, is no YAML (line and column), or holds no fields.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        loader = _Loader(text)
        fields = loader.get_single_data()
    except OSError as error:
        raise InputError(str(path), [f"cannot be read: {error.strerror}; check the path"]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InputError(str(path), [f"{place}{error.problem}: mend the YAML there"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(str(path), [f"is no YAML text ({error}): mend it"]) from None
    if not isinstance(fields, dict):
        given = type(fields).__name__
        raise InputError(str(path), [f"given {given}; expected lines of the form 'field: value'"])
    return fields, sorted(loader.repeated)


def describe_fault(error: ErrorDetails, fields: Collection[str]) -> str:
    """One fault: the field's path, what was given, what was expected, what to do.

    Args:
        error: As from ``ValidationError.errors()``.
        fields: Names that a misspelt field may have meant.
    """
    if not error["loc"]:  # what is wrong is in how fields go together
        return error["msg"].removeprefix("Value error, ")
    *parents, last = error["loc"]
    field = ".".join(str(part) for part in [*(p for p in parents if p not in RULES), last])
    if error["type"] == "missing":
        return f"{field}: is missing; add this field"
    if error["type"] == "extra_forbidden":
        meant = did_you_mean(str(last), set(fields) - {str(last)})
        return f"{field}: is no field here; {meant or 'remove it'}"
    expected = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    remedy = REMEDIES.get(error["type"], "correct the value")
    return f"{field}: given {SHORT.repr(error['input'])}; {expected}; {remedy}"
