import json
import shutil
from dataclasses import replace

import pytest

from medunlearn.study import ingredients
from medunlearn.study.jobs import plan_jobs
from medunlearn.study.ledger import RECORD, Ledger
from medunlearn.study.models import (
    Cell,
    all_models,
    original,
    reference,
    references,
    retrained,
    unlearned,
)

CELL = Cell("random", 0.1)
O0, R0, U0 = original(0), retrained(CELL, 0), unlearned("salun", CELL, 0)


@pytest.fixture
def ledger(tiny_study):
    return Ledger(tiny_study)


def write(ledger, spec, content="weights"):
    with ledger.writing(spec) as folder:
        (folder / "weights.safetensors").write_text(content)


def test_a_model_appears_whole_with_its_record(ledger):
    assert not ledger.is_done(O0)
    write(ledger, O0)
    assert ledger.is_done(O0)
    record = json.loads((ledger.path(O0) / RECORD).read_text())
    assert record["status"] == "done"
    assert record["key"] == ledger.path(O0).name
    assert record["ingredients"]["versions"]["torch"]
    assert set(record["files"]) == {"weights.safetensors"}


def test_an_error_while_writing_leaves_nothing(ledger):
    def fail():
        with ledger.writing(O0) as folder:
            (folder / "weights.safetensors").write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert not ledger.is_done(O0)
    assert [path.name[:8] for path in ledger.folder.iterdir()] == [".failed-"]


@pytest.mark.parametrize("harm", ["truncate", "delete", "change", "record"])
def test_a_harmed_folder_is_not_done_and_is_made_again(ledger, harm):
    write(ledger, O0)
    file = ledger.path(O0) / "weights.safetensors"
    {
        "truncate": lambda: file.write_text("weig"),
        "delete": file.unlink,
        "change": lambda: file.write_text("weighty"),
        "record": lambda: (ledger.path(O0) / RECORD).write_text('{"key'),
    }[harm]()
    assert ledger.missing([O0]) == [O0]
    write(ledger, O0)
    assert ledger.missing([O0]) == []
    assert len(list(ledger.folder.iterdir())) == 1


def test_what_another_process_has_finished_meanwhile_stays(ledger):
    with ledger.writing(O0) as folder:
        (folder / "weights.safetensors").write_text("second")
        write(Ledger(ledger.study), O0, "first")
    assert (ledger.path(O0) / "weights.safetensors").read_text() == "first"
    assert len(list(ledger.folder.iterdir())) == 1


def test_a_model_without_its_input_is_not_done(ledger):
    write(ledger, O0)
    write(ledger, U0)
    assert ledger.is_done(U0)
    shutil.rmtree(ledger.path(O0))
    assert ledger.missing([O0, U0]) == [O0, U0]


def test_a_model_made_from_other_weights_is_not_done(ledger):
    """On a device that does not repeat its bytes an original made again is another one."""
    write(ledger, O0)
    write(ledger, U0)
    ledger.discard(O0)
    write(ledger, O0, "other weights")
    assert ledger.missing([O0, U0]) == [U0]
    ledger.discard(O0)
    write(ledger, O0)
    assert ledger.missing([O0, U0]) == []


def test_a_retrained_model_needs_no_original(ledger):
    assert ledger.entry(R0).inputs == ()
    assert ledger.entry(U0).inputs == (ledger.entry(O0).key,)


def test_every_model_has_a_key_of_its_own(ledger):
    specs = all_models(ledger.study.profile)
    assert len({ledger.entry(spec).key for spec in specs}) == len(specs)


HARD = Cell("hard", 0.1)
RH, UH = retrained(HARD, 0), unlearned("salun", HARD, 0)


def test_a_forget_set_drawn_by_difficulty_stands_on_the_reference_models(ledger):
    halves = references(ledger.study.profile)
    keys = tuple(ledger.entry(half).key for half in halves)
    assert ledger.entry(RH).inputs == keys
    assert ledger.entry(UH).inputs == (ledger.entry(O0).key, *keys)
    for spec in (*halves, O0, RH, UH):
        write(ledger, spec)
    assert ledger.missing([RH, UH]) == []
    ledger.discard(halves[1])
    assert ledger.missing([RH, UH, O0]) == [RH, UH]
    write(ledger, halves[1], "other weights")
    assert ledger.missing([RH, UH, O0]) == [RH, UH]


def test_what_decides_the_return_of_the_forget_set_is_in_the_key(ledger):
    profile = ledger.study.profile
    slower = profile.relearning.model_copy(update={"learning_rate": 0.001})
    other = Ledger(replace(ledger.study, profile=profile.model_copy(update={"relearning": slower})))
    watched, others = [R0, U0], [O0, retrained(Cell("random", 0.2, "seed"), 0), reference(200)]
    for spec in watched:
        assert other.entry(spec).key != ledger.entry(spec).key
    for spec in others:
        assert other.entry(spec).key == ledger.entry(spec).key


def test_no_job_starts_before_its_forget_set_can_be_drawn(ledger):
    profile = ledger.study.profile.model_copy(update={"compositions": ["random", "hard"]})
    jobs = plan_jobs(replace(ledger.study, profile=profile))
    halves = set(references(profile))
    for job in jobs:
        drawn_by_difficulty = job.parameters.get("composition") == "hard"
        assert halves.issubset(job.needs) == drawn_by_difficulty, job.name


def test_settings_of_one_method_change_its_models_alone(ledger):
    other = Ledger(ledger.study.with_settings("salun", {"share": 0.3}))
    assert other.entry(U0).key != ledger.entry(U0).key
    for spec in (O0, R0, unlearned("finetune", CELL, 0)):
        assert other.entry(spec).key == ledger.entry(spec).key


def test_what_the_manifest_decides_of_the_training_is_in_the_key(ledger):
    cohort = ledger.study.cohort
    flipped = cohort.manifest.model_copy(update={"horizontal_flip": True})
    other = Ledger(replace(ledger.study, cohort=replace(cohort, manifest=flipped)))
    for spec in (O0, R0, U0):
        assert other.entry(spec).key != ledger.entry(spec).key


def test_what_a_living_process_writes_is_not_swept(ledger):
    with ledger.writing(O0) as folder:
        Ledger(ledger.study).sweep()
        assert folder.is_dir()


@pytest.mark.parametrize(
    ("module", "stale"),
    [
        ("medunlearn.training", {O0, R0, U0}),
        ("medunlearn.methods.salun", {U0}),
        ("medunlearn.evaluation.relearning", {R0, U0}),
        ("medunlearn.evaluation.difficulty", set()),
        ("medunlearn.figures", set()),
        ("medunlearn.statistics.intervals", set()),
        ("medunlearn.study.engine", set()),
    ],
)
def test_an_edit_makes_stale_what_depends_on_it_and_says_why(ledger, monkeypatch, module, stale):
    specs = [O0, R0, U0]
    for spec in specs:
        write(ledger, spec)
    real = ingredients.module_hashes

    def edited(*names):
        return {m: ("edited" if m == module else sha) for m, sha in real(*names).items()}

    monkeypatch.setattr(ingredients, "module_hashes", edited)
    after = Ledger(ledger.study)
    assert set(after.missing(specs)) == stale
    reasons = after.stale(specs)
    assert set(reasons) == stale
    for spec in stale:
        assert f"code of {module}" in reasons[spec]
