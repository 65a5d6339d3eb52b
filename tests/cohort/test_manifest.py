import re
import string
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medunlearn.cohort.manifest import FOLDER, load_manifest, manifest_names
from medunlearn.cohort.rules import LEAVES_FOLDER
from medunlearn.cohort.schema import DataManifest, PhantomManifest, TableManifest
from medunlearn.errors import InputError
from tests.cohort.conftest import TABLE, WHOLE

LABEL = {"rule": "threshold", "column": "x", "above": 0, "classes": ["no", "yes"]}
LABEL |= {"reference_class": "no"}
MAPPED = {"rule": "values", "column": "dx", "classes": ["a", "b"], "reference_class": "a"}


@pytest.fixture
def faults(write_manifest):
    """What is said of a manifest for a table that is right but for these fields."""

    def faults(**changes: object) -> list[str]:
        return _faults(write_manifest("table", **({"label": LABEL} | changes)))

    return faults


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


def test_five_different_faults_are_named_in_one_error(faults):
    told = faults(
        licence="", channels=2, colour="red", label=MAPPED | {"mapping": {"x": "c"}},
        partition={"train": 0.5, "validation": 0.2, "test": 0.4},
    )  # fmt: skip
    expected = {
        "licence": "at least 1 character",
        "channels": "given 2; expected 1 or 3",
        "colour": "no field",
        "partition.test": "sum to 1.1",
        "label.mapping": "['x: c'] map to no class",
    }
    assert len(told) == 5
    for field, words in expected.items():
        assert any(fault.startswith(f"{field}: ") and words in fault for fault in told), field


def test_a_field_that_is_missing_or_misspelt_is_told(tmp_path: Path):
    fields = {name: value for name, value in WHOLE.items() if name != "licence"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(fields | TABLE | {"colums": {}}))
    told = _faults(str(tmp_path / "mine.yaml"))
    assert any("licence: is missing" in fault for fault in told)
    assert any("colums" in fault and "'columns'" in fault for fault in told)


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
        ({"conflicting_sex": "drop"}, "conflicting_sex"),
        ({"filters": [{"column": "x", "rule": "above", "value": "ten"}]}, "filters.0.value"),
        ({"filters": [{"column": "x", "rule": "over", "value": 1}]}, "'over'"),
        ({"partition": {"train": 1.0, "validation": 0.2, "test": 0.3}}, "partition.train"),
        ({"label": LABEL | {"above": float("nan")}}, "finite"),
        ({"label": LABEL | {"classes": ["no", "yes", "maybe"]}}, "label.classes"),
        ({"label": LABEL | {"reference_class": "c"}}, "given 'c'; expected one of the classes"),
        ({"label": LABEL | {"rule": "magic"}}, "'threshold'"),
        ({"label": ["no", "yes"]}, "label"),
        ({"name": "other"}, "the file's name, 'mine'"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(faults, changes, words: str):
    assert any(words in fault for fault in faults(**changes))


def test_what_may_be_left_out_is_and_null_for_conflicting_sex_means_unknown(write_manifest):
    manifest = load_manifest(
        write_manifest("table", columns={"image": "a", "patient": "b"}, sex=None)
    )
    assert isinstance(manifest, TableManifest)
    assert (manifest.table, manifest.image_suffix, manifest.sex) == (("table.csv",), "", None)
    assert manifest.conflicting_sex == "error"
    assert load_manifest(write_manifest("table", conflicting_sex=None)).conflicting_sex is None


def test_a_repeated_key_is_a_fault_with_both_lines(write_manifest):
    path = Path(write_manifest("table"))
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


# Anything

SHIPPED = [yaml.safe_load((FOLDER / f"{name}.yaml").read_text()) for name in manifest_names()]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 300), st.floats(width=16),
    st.text(string.printable, max_size=8), st.sampled_from(["../x", "/x", "~", "a/../..", "\0"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(string.ascii_letters, max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def spoilt_manifests(draw: st.DrawFn) -> dict[str, object]:
    """A shipped manifest with some of its fields, or of their fields, replaced by anything."""
    fields = dict(draw(st.sampled_from(SHIPPED)))
    for name in draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=3)):
        inner = fields[name]
        if isinstance(inner, dict) and inner and draw(st.booleans()):
            fields[name] = inner | {draw(st.sampled_from(sorted(inner))): draw(VALUES)}
        else:
            fields[name] = draw(VALUES)
    return fields


@settings(
    max_examples=40, derandomize=True, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(spoilt_manifests())
def test_any_manifest_is_read_or_refused_by_the_one_error(fields: dict[str, object]):
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{SHIPPED[0]['name']}.yaml"
        path.write_text(yaml.safe_dump(fields | {"name": SHIPPED[0]["name"]}), encoding="utf-8")
        said = []
        try:
            manifest = load_manifest(str(path))
        except InputError as error:
            said = error.faults
    if said:
        assert all(": " in fault for fault in said)
        return
    assert abs(sum(manifest.partition.model_dump().values()) - 1) < 1e-6
    assert manifest.label.reference_class in manifest.label.classes
    if isinstance(manifest, DataManifest):
        assert not pd.Series(manifest.folders).str.contains(LEAVES_FOLDER).any()
