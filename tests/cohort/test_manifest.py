import re
from pathlib import Path

import pytest
import yaml

from medunlearn.cohort.manifest import FOLDER, load_manifest, manifest_names
from medunlearn.cohort.schema import DataManifest, PhantomManifest, TableManifest
from medunlearn.errors import InputError

LABEL = {"rule": "threshold", "column": "x", "above": 0, "classes": ["no", "yes"]}
LABEL |= {"reference_class": "no"}
WHOLE = {
    "name": "mine", "kind": "table", "title": "My images", "source": "https://example.org",
    "licence": "CC0", "citation": "none", "how_to_get": "ask me", "folders": "mine",
    "table": "table.csv", "images": ["images"], "label": LABEL, "channels": 1,
    "columns": {"image": "file", "patient": "id", "sex": "sex"}, "sex": {"F": "f", "M": "m"},
    "horizontal_flip": False, "partition": {"train": 0.5, "validation": 0.2, "test": 0.3},
}  # fmt: skip


def _write(folder: Path, without: str = "", **changes: object) -> str:
    fields = {name: value for name, value in (WHOLE | changes).items() if name != without}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(fields))
    return str(path)


def _faults(name: str) -> list[str]:
    with pytest.raises(InputError) as error:
        load_manifest(name)
    return error.value.faults


@pytest.mark.parametrize("name", manifest_names())
def test_every_shipped_manifest_loads_under_its_own_name(name: str):
    manifest = load_manifest(name)
    assert manifest.name == name
    assert isinstance(manifest, PhantomManifest if name == "phantom" else DataManifest)
    assert manifest.biases or name == "phantom"
    assert manifest.unit == "patient" or "#" in (FOLDER / f"{name}.yaml").read_text()
    assert manifest.label.classes[manifest.label.reference_code] == manifest.label.reference_class


def test_chest_images_are_not_flipped():
    assert not any(load_manifest(name).horizontal_flip for name in ("phantom", "nih_chestxray14"))


def test_unknown_dataset_lists_the_choices():
    (fault,) = _faults("ham1000")
    assert "'ham1000'" in fault
    assert all(name in fault for name in manifest_names())


def test_five_different_faults_are_named_in_one_error(tmp_path: Path):
    path = _write(
        tmp_path,
        without="licence",
        channels=2,
        colour="red",
        partition={"train": 0.5, "validation": 0.2, "test": 0.4},
        label={"rule": "values", "column": "dx", "classes": ["a", "b"], "reference_class": "c"}
        | {"mapping": {"x": "a", "y": "b"}},
    )
    faults = _faults(path)
    assert len(faults) == 5
    expected = {
        "licence": "missing",
        "channels": "given 2; expected 1 or 3",
        "colour": "no field",
        "partition.test": "sum to 1.1",
        "label.reference_class": "given 'c'; expected one of the classes ['a', 'b']",
    }
    for field, words in expected.items():
        assert any(fault.startswith(f"{field}: ") and words in fault for fault in faults), field


def test_a_misspelt_field_is_told_its_likely_name(tmp_path: Path):
    faults = _faults(_write(tmp_path, without="columns", colums=WHOLE["columns"]))
    assert any("colums" in fault and "'columns'" in fault for fault in faults)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"title": 3}, "quotes"),
        ({"channels": "3"}, "expected 1 or 3"),
        ({"image_size": 64.5}, "image_size"),
        ({"image_size": "64"}, "whole number"),
        ({"horizontal_flip": "no"}, "true or false"),
        ({"source": "my disk"}, "source"),
        ({"images": ["images", "C:\\images"]}, "images.1"),
        ({"folders": []}, "folders"),
        ({"sex": {"F": "f", "M": ["m", "f"]}}, "['f']"),
        ({"sex": None}, "both or neither"),
        ({"columns": {"image": "file", "patient": "id"}}, "both or neither"),
        ({"conflicting_sex": "ignore"}, "conflicting_sex"),
        ({"filters": [{"column": "x", "rule": "above", "value": "ten"}]}, "filters.0.value"),
        ({"filters": [{"column": "x", "rule": "over", "value": 1}]}, "'over'"),
        ({"partition": {"train": 1.0, "validation": 0.2, "test": 0.3}}, "partition.train"),
        ({"label": LABEL | {"above": float("nan")}}, "finite"),
        ({"label": LABEL | {"classes": ["no", "yes", "maybe"]}}, "label.classes"),
        ({"label": LABEL | {"classes": ["no", "no"]}}, "repeated"),
        ({"label": LABEL | {"rule": "magic"}}, "'threshold'"),
        ({"label": ["no", "yes"]}, "label"),
        ({"name": "other"}, "the file's name, 'mine'"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(tmp_path: Path, changes, words: str):
    assert any(words in fault for fault in _faults(_write(tmp_path, **changes)))


@pytest.mark.parametrize(
    ("mapping", "words"),
    [({"x": "a", "y": "B"}, "['y: B']"), ({"x": "a"}, "nothing maps to ['b']")],
)
def test_a_mapping_must_meet_the_classes(tmp_path: Path, mapping, words: str):
    label = {"rule": "values", "column": "dx", "classes": ["a", "b"], "reference_class": "a"}
    (fault,) = _faults(_write(tmp_path, label=label | {"mapping": mapping}))
    assert words in fault


def test_a_path_is_accepted_and_null_for_conflicting_sex_means_null(tmp_path: Path):
    path = _write(tmp_path, without="sex", columns={"image": "a", "patient": "b"}, table="t.csv")
    manifest = load_manifest(path)
    assert isinstance(manifest, TableManifest)
    assert (manifest.table, manifest.image_size, manifest.sex) == (("t.csv",), 64, None)
    assert manifest.conflicting_sex == "error"
    assert load_manifest(_write(tmp_path, conflicting_sex=None)).conflicting_sex == "null"


def test_a_repeated_key_is_a_fault_with_both_lines(tmp_path: Path):
    path = Path(_write(tmp_path))
    text = path.read_text()
    path.write_text(text + "channels: 3\n")
    (fault,) = _faults(str(path))
    assert re.search(rf"line {text.count(chr(10)) + 1}: 'channels' .* line \d+", fault)


@pytest.mark.parametrize(
    "text", ["name: [a\nkind: b", "a: b: c", "a: !!python/object/apply:os.getcwd []", "\tname: a"]
)
def test_broken_or_unsafe_yaml_names_line_and_column(tmp_path: Path, text: str):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    (fault,) = _faults(str(path))
    assert re.match(r"line \d+, column \d+: ", fault)


@pytest.mark.parametrize(
    "content", [b"", b"- a\n", b"just words", b"\xff\xfe\x00", b"d: 2024-99-99"]
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "mine.yaml"
    assert "check the path" in _faults(str(path))[0]
    path.write_bytes(content)
    assert _faults(str(path))
