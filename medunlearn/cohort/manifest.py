"""A dataset in one YAML file: found by name, read safely, refused with all its faults at once."""

import difflib
import reprlib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from medunlearn.cohort import schema
from medunlearn.cohort.schema import Manifest, PhantomManifest, TableManifest
from medunlearn.errors import InputError

__all__ = ["Manifest", "PhantomManifest", "TableManifest", "load_manifest", "manifest_names"]

FOLDER = Path(__file__).parents[2] / "data_manifests"
RULES = {"values", "threshold", "equals", "one_of", "above", "below"}
SHORT = reprlib.Repr()  # YAML aliases can stand for a value of any length
SHORT.maxstring = SHORT.maxother = 80
FIELDS = {
    field
    for part in vars(schema).values()
    if isinstance(part, type) and issubclass(part, BaseModel)
    for field in part.model_fields
}
REMEDIES = {
    "string_type": "give a text, and put a number, date, yes or no in quotes",
    "int_type": "give a whole number without quotes",
    "bool_type": "give true or false without quotes",
    "union_tag_not_found": "add its rule",
}


def manifest_names() -> list[str]:
    """Names of the datasets that have a manifest."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_manifest(name: str) -> Manifest:
    """Reads and checks the manifest of a dataset.

    Args:
        name: One of `manifest_names()`, or the path of a ``.yaml`` file of the same form.

    Returns:
        A `TableManifest` or a `PhantomManifest`, as its ``kind`` says.

    Raises:
        InputError: There is no such dataset, or its manifest has faults; all are named at once.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        if name not in manifest_names():
            choices = ", ".join(manifest_names())
            raise InputError("dataset", [f"given {name!r}; choose {choices}, or a .yaml file"])
        path = FOLDER / f"{name}.yaml"
    fields, faults = _read_yaml(path)
    # The file's name is the dataset's, so that a copied manifest cannot share another's results.
    if isinstance(fields.get("name"), str) and fields["name"] != path.stem:
        faults.append(f"name: given {fields['name']!r}; expected the file's name, {path.stem!r}")
    model = PhantomManifest if fields.get("kind") == "phantom" else TableManifest
    try:
        manifest = model.model_validate(fields)
    except ValidationError as error:
        faults += [_describe(fault) for fault in error.errors(include_url=False)]
    if faults:
        raise InputError(str(path), faults)
    return manifest


def _read_yaml(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The fields of the file, and its repeated keys as faults."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        repeated = _find_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader))
        fields = yaml.safe_load(text)
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
    return fields, repeated


def _find_repeated_keys(root: yaml.Node | None) -> list[str]:
    """YAML itself would keep the last of two equal keys and say nothing."""
    faults: list[str] = []
    todo, seen = [root], set()
    while todo:
        node = todo.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            todo += node.value
        elif isinstance(node, yaml.MappingNode):
            first: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if isinstance(key, yaml.ScalarNode) and first.setdefault(key.value, line) != line:
                    faults.append(
                        f"line {line}: {key.value!r} was given in line {first[key.value]}; "
                        "remove one of the two"
                    )
                todo.append(value)
    return sorted(faults)


def _describe(error: ErrorDetails) -> str:
    """One fault: the field's path, what was given, what was expected, what to do."""
    *parents, last = error["loc"]
    field = ".".join(str(part) for part in [*(p for p in parents if p not in RULES), last])
    if error["type"] == "missing":
        return f"{field}: is missing; add this field"
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(last), FIELDS - {str(last)}, n=1)
        meant = f"did you mean {close[0]!r}?" if close else "remove it"
        return f"{field}: is no field of a manifest here; {meant}"
    expected = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    if field == "kind":
        expected = "expected 'phantom' or 'table'"
    remedy = REMEDIES.get(error["type"], "correct the value")
    return f"{field}: given {SHORT.repr(error['input'])}; {expected}; {remedy}"
