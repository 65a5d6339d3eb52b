"""A dataset in one YAML file: found by name, read safely, refused with all its faults at once."""

from pathlib import Path

from pydantic import BaseModel, ValidationError

from medunlearn.cohort import schema
from medunlearn.cohort.schema import Manifest, PhantomManifest, TableManifest
from medunlearn.errors import InputError
from medunlearn.yamlfile import describe_fault, read_yaml

__all__ = ["Manifest", "PhantomManifest", "TableManifest", "load_manifest", "manifest_names"]

FOLDER = Path(__file__).parents[2] / "data_manifests"
FIELDS = {
    field
    for part in vars(schema).values()
    if isinstance(part, type) and issubclass(part, BaseModel)
    for field in part.model_fields
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
    fields, faults = read_yaml(path)
    # The file's name is the dataset's, so that a copied manifest cannot share another's results.
    if isinstance(fields.get("name"), str) and fields["name"] != path.stem:
        faults.append(f"name: given {fields['name']!r}; expected the file's name, {path.stem!r}")
    model = PhantomManifest if fields.get("kind") == "phantom" else TableManifest
    try:
        manifest = model.model_validate(fields)
    except ValidationError as error:
        faults += [describe_fault(fault, FIELDS) for fault in error.errors(include_url=False)]
    if faults:
        raise InputError(str(path), faults)
    return manifest
