"""What makes notebooks without models stale: all code upstream of them, and nothing beside it."""

import pytest

from medunlearn.study import keys
from medunlearn.study.design import COHORT, SYNTHESIS, original
from medunlearn.study.keys import notebook_key
from medunlearn.study.store import Store


@pytest.mark.parametrize(
    ("module", "stale"),
    [
        ("medunlearn.cohort.build", {COHORT, SYNTHESIS}),
        ("medunlearn.figures.style", {COHORT, SYNTHESIS}),
        ("medunlearn.statistics.verdicts", {SYNTHESIS}),
        ("medunlearn.cost", set()),
        ("medunlearn.study.synthesis", {SYNTHESIS}),
        ("medunlearn.study.engine", set()),
        ("medunlearn.methods.salun", set()),
    ],
)
def test_an_edit_makes_stale_the_notebooks_downstream_of_it(tiny_study, monkeypatch, module, stale):
    store, real = Store(tiny_study), keys.module_hashes
    before = {name: notebook_key(tiny_study, name, store) for name in (COHORT, SYNTHESIS)}

    def edited(*names, **without):
        found = real(*names, **without)
        return {m: ("edited" if m == module else sha) for m, sha in found.items()}

    monkeypatch.setattr(keys, "module_hashes", edited)
    after = {name: notebook_key(tiny_study, name, store) for name in (COHORT, SYNTHESIS)}
    assert {name for name in before if before[name] != after[name]} == stale


def test_a_model_that_is_made_makes_the_report_stale_and_no_other_notebook(tiny_study):
    store = Store(tiny_study)
    before = {name: notebook_key(tiny_study, name, store) for name in (COHORT, SYNTHESIS)}
    with store.writing(original(1000)) as folder:
        (folder / "weights.safetensors").write_text("weights")
    assert notebook_key(tiny_study, COHORT, store) == before[COHORT]
    assert notebook_key(tiny_study, SYNTHESIS, store) != before[SYNTHESIS]
