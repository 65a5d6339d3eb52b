"""A dataset in one YAML file: found by name, read safely, refused with all its faults at once."""

from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from medunlearn.cohort.schema import KINDS, Manifest, TableManifest
from medunlearn.errors import InputError, choose_from
from medunlearn.yamlfile import describe_fault, read_yaml

FOLDER = Path(__file__).parents[2] / "data_manifests"
TEMPLATE = "template"


def manifest_names() -> list[str]:
    """Names of the datasets that have a manifest."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != TEMPLATE)


def load_manifest(name: str) -> Manifest:
    """Reads and checks the manifest of a dataset.

    Args:
        name: One of `manifest_names()`, or the path of a ``.yaml`` file of the same form. Variants
            that the file offers are appended: ``chexpert-cardiomegaly``, ``mine-official.yaml``.

    Returns:
        A manifest of the class that its ``kind`` says, its name ending with the variants.

    Raises:
        InputError: There is no such dataset, or its manifest has faults; all are named at once.
    """
    path, variants = _find(name)
    fields, faults = read_yaml(path)
    # The file's name is the dataset's, so that a copied manifest cannot share another's results.
    if isinstance(fields.get("name"), str) and fields["name"] != path.stem:
        faults.append(f"name: given {fields['name']!r}; expected the file's name, {path.stem!r}")
    fields, unknown = _apply(fields, variants)
    model = KINDS.get(str(fields.get("kind")), TableManifest)
    try:
        manifest = model.model_validate(fields)
    except ValidationError as error:
        known = _field_names()
        faults += [describe_fault(fault, known) for fault in error.errors(include_url=False)]
    if faults := [*faults, *unknown]:
        raise InputError(str(path), faults)
    return manifest


def _field_names() -> set[str]:
    """All that a manifest may hold, which a misspelt field may have meant."""
    schemas = [model.model_json_schema() for model in KINDS.values()]
    parts = [part for schema in schemas for part in (schema, *schema.get("$defs", {}).values())]
    return {name for part in parts for name in part.get("properties", {})}


def _find(name: str) -> tuple[Path, list[str]]:
    """The file, and the variants that the name asks for."""
    own = Path(name).suffix in {".yaml", ".yml"}
    path = Path(name) if own else FOLDER / f"{name}.yaml"
    parts = path.stem.split("-")
    for cut in range(len(parts), 0, -1):
        file = path.with_stem("-".join(parts[:cut]))
        if file.is_file():
            return file, parts[cut:]
    if own:
        return path, []
    choices = choose_from(name, manifest_names())
    raise InputError("DATASET", [f"{name!r} is not known; {choices}, or give a .yaml file"])


def _apply(fields: dict[str, Any], variants: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The fields as the variants change them, and the variants that are not known."""
    fields = dict(fields)
    given = fields.pop("variants", None) or {}
    if not isinstance(given, dict) or not all(isinstance(v, dict) for v in given.values()):
        return fields, ["variants: expected lines 'name: {field: value}'; correct them"]
    offered: dict[str, dict[str, Any]] = {str(name): changes for name, changes in given.items()}
    for variant in variants:
        if variant not in offered:
            choices = ", ".join(offered) or "none: the manifest has no variants"
            return fields, [f"variant {variant!r} is not known; choose from {choices}"]
        fields = _merge(fields, offered[variant])
    if variants and isinstance(fields.get("name"), str):
        fields["name"] = "-".join([fields["name"], *variants])
    return fields, []


def _merge(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Fields with changes, groups within groups; a changed rule replaces its whole group."""
    merged = dict(fields)
    for name, value in changes.items():
        old = merged.get(name)
        inner = isinstance(old, dict) and isinstance(value, dict) and "rule" not in value
        merged[name] = _merge(cast("dict[str, Any]", old), value) if inner else value
    return merged
