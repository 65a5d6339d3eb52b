"""What holds for every manifest, every partition and every draw, whatever is given."""

import string
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medunlearn.cohort.forget_sets import development_patients, draw_forget_set
from medunlearn.cohort.manifest import FOLDER, load_manifest, manifest_names
from medunlearn.cohort.partition import PARTITIONS, partition_patients, patient_table
from medunlearn.cohort.rules import LEAVES_FOLDER
from medunlearn.cohort.schema import DataManifest
from medunlearn.errors import InputError
from medunlearn.randomness import stream

few = settings(
    max_examples=40,
    derandomize=True,  # the same examples each time
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

WHOLE = [yaml.safe_load((FOLDER / f"{name}.yaml").read_text()) for name in manifest_names()]
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
    fields = dict(draw(st.sampled_from(WHOLE)))
    for name in draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=3)):
        inner = fields[name]
        if isinstance(inner, dict) and inner and draw(st.booleans()):
            fields[name] = inner | {draw(st.sampled_from(sorted(inner))): draw(VALUES)}
        else:
            fields[name] = draw(VALUES)
    return fields


@few
@given(spoilt_manifests())
def test_any_manifest_is_read_or_refused_by_the_one_error(fields: dict[str, object]):
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{WHOLE[0]['name']}.yaml"
        path.write_text(yaml.safe_dump(fields | {"name": WHOLE[0]["name"]}), encoding="utf-8")
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


@st.composite
def cohorts(draw: st.DrawFn) -> pd.DataFrame:
    """Patients with 1 to 4 images, sex F, M or unknown, up to four classes of any frequency."""
    patients = draw(st.integers(20, 300))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    owner = np.repeat(np.arange(patients), random.integers(1, 5, patients))
    women, unknown = draw(st.floats(0, 1)), draw(st.floats(0, 0.5))
    sexes = np.where(random.random(patients) < women, "F", "M").astype(object)
    sexes[random.random(patients) < unknown] = None
    weights = random.dirichlet(np.ones(draw(st.integers(1, 4))))
    labels = random.choice(len(weights), len(owner), p=weights)
    return pd.DataFrame({"patient": owner, "sex": sexes[owner], "label": labels})


SHARES = st.tuples(*[st.floats(0.1, 1)] * 3).map(
    lambda given: dict(
        zip(("train", "validation", "test"), np.array(given) / sum(given), strict=True)
    )
)


@few
@given(cohorts(), SHARES, st.integers(0, 5))
def test_every_patient_has_one_partition_of_the_stated_size(cohort, shares, seed):
    patients = patient_table(cohort)
    partition = partition_patients(patients, shares, stream("test", seed))
    assert partition.index.tolist() == patients.index.tolist()
    counts = partition.value_counts().reindex(PARTITIONS, fill_value=0).to_numpy()
    assert counts.sum() == len(patients)
    assert abs(counts[0] - shares["train"] * len(patients)) <= 0.5
    assert abs(counts[1] + counts[2] - shares["validation"] * len(patients)) <= 0.5
    assert 0 <= counts[2] - counts[1] <= 1
    again = partition_patients(patients.copy(), shares, stream("test", seed))
    pd.testing.assert_series_equal(partition, again)


@few
@given(cohorts(), SHARES, st.data())
def test_the_official_split_is_kept_for_every_patient(cohort, shares, data):
    patients = patient_table(cohort)
    words = ["train", "validation", "test", "train+validation"]
    chosen = st.lists(st.sampled_from(words), min_size=len(patients), max_size=len(patients))
    official = pd.Series(data.draw(chosen), index=patients.index)
    partition = partition_patients(patients, shares, stream("test"), official)
    assert sorted(partition.index) == patients.index.tolist()
    for patient, given_ in partition.items():
        assert given_.split("_")[0] in official[patient]


@few
@given(cohorts(), st.floats(0.02, 0.6), st.floats(0.02, 0.6), st.sampled_from(["shared", "seed1"]))
def test_draws_are_nested_of_the_stated_size_and_of_training_patients(cohort, one, other, order):
    shares = {"train": 0.6, "validation": 0.2, "test": 0.2}
    partition = partition_patients(patient_table(cohort), shares, stream("test"))
    cohort = cohort.assign(partition=cohort["patient"].map(partition))
    train = set(partition.index[partition == "train"])
    try:
        small, large = (
            draw_forget_set(cohort, "random", size, order) for size in sorted((one, other))
        )
    except InputError:
        return
    assert set(small.patients) <= set(large.patients) <= train
    assert not set(large.patients) & set(development_patients(cohort))
    assert len(large.patients) == round(max(one, other) * len(train))
    retained = cohort[cohort["patient"].isin(train - set(large.patients))]
    assert set(retained["label"]) == set(cohort.loc[cohort["patient"].isin(train), "label"])
    assert draw_forget_set(cohort, "random", max(one, other), order) == large
