"""Tuning on the smallest study: what is tried, what is read, what is booked, what is frozen."""

import shutil

import numpy as np
import pytest
import yaml

from medunlearn.cohort.forget_sets import DEVELOPMENT, development_patients
from medunlearn.errors import InputError
from medunlearn.sources import canonical_hash
from medunlearn.study import tuning as module
from medunlearn.study.builder import Builder
from medunlearn.study.design import all_models, development_seeds, trial
from medunlearn.study.search import WORST
from medunlearn.study.study import open_study
from medunlearn.study.tuned import SHIPPED, find_tuned, read_tuned, tuned_path, write_tuned
from medunlearn.study.tuning import freeze, tune_method, tune_nothing


@pytest.fixture(scope="module")
def tuned_builder(tiny_profile, drawn, tmp_path_factory):
    """Both methods of the tiny study, searched once for all tests of this file."""
    runs = shutil.copytree(drawn, tmp_path_factory.mktemp("tuned") / "runs")
    builder = Builder(open_study("phantom", tiny_profile, runs=str(runs), device="cpu"))
    builder.found = freeze(builder, ["finetune", "salun"])
    return builder


def specs(builder, method="salun"):
    return [trial(method, seed) for seed in development_seeds(builder.study.profile)]


def test_trials_forget_the_reserved_patients_who_are_in_no_reported_forget_set(tuned_builder):
    table, draws = tuned_builder.study.cohort.table, tuned_builder.store
    reserved = set(development_patients(table))
    drawn = draws.forget_set(specs(tuned_builder)[0])
    assert drawn.composition == DEVELOPMENT
    assert set(drawn.patients) == reserved
    assert tuned_builder.found.patients == len(reserved) > 0
    for spec in all_models(tuned_builder.study.profile):
        assert spec.seed not in development_seeds(tuned_builder.study.profile)
        if spec.cell and spec.role != "reference":
            assert not reserved & set(draws.forget_set(spec).patients)


def test_every_method_gets_the_same_number_of_trials_the_usual_one_first(tuned_builder):
    for name, found in tuned_builder.found.methods.items():
        assert len(found.trials) == tuned_builder.study.profile.tuning.trials
        usual = tuned_builder.study.usual_settings(name)
        assert {k: found.trials[0].settings[k] for k in usual} == usual
        assert found.settings == found.trials[found.chosen].settings


def test_a_trial_takes_over_nothing_that_was_tuned_before(tuned_builder):
    """Not even a setting that is not searched: the alpha of a former SSD decided all its trials."""
    before = tuned_builder.with_settings("salun", {"share": 0.3})
    tried = module._with_settings(before, "salun", {"learning_rate": 0.02})
    usual = tuned_builder.study.usual_settings("salun")
    assert tried.study.settings("salun") == {**usual, "learning_rate": 0.02}


def test_each_trial_is_booked_with_all_its_seeds_and_was_timed_alone(tuned_builder):
    found = tuned_builder.found.methods["salun"]
    for tried in found.trials:
        builder = tuned_builder.with_settings("salun", tried.settings)
        costs = builder.costs(specs(builder))
        assert costs["exclusive"].all()
        assert set(costs["region"]) == {"preparation", "unlearning", "batchnorm"}
        assert sum(tried.seconds) == pytest.approx(costs["seconds"].sum())
    bills = tuned_builder.found.bills()
    spent = bills.loc[bills["method"] == "salun", "seconds"].sum()
    assert spent == pytest.approx(sum(sum(t.seconds) for t in found.trials))


def test_a_search_that_ran_before_makes_nothing_again(tuned_builder, monkeypatch):
    def fail(*_):
        raise AssertionError("made again")

    monkeypatch.setattr(tuned_builder, "_try", fail)
    monkeypatch.setattr(Builder, "_try", fail)
    assert tune_method(tuned_builder, "salun") == tuned_builder.found.methods["salun"]


@pytest.mark.parametrize("favourite", [0, 1, 2])
def test_no_retrained_model_has_a_say_in_what_is_chosen(tuned_builder, monkeypatch, favourite):
    """Whichever trial were nearest to retraining, the same one is chosen."""
    before = tuned_builder.found.methods["salun"]
    # two development seeds each
    seen = iter([0.0 if number == favourite else 1.0 for number in (0, 0, 1, 1, 2, 2)])
    monkeypatch.setattr(module, "oracle_gap", lambda *_: next(seen))
    after = tune_method(tuned_builder, "salun")
    assert after.oracle_tuned == favourite
    assert (after.chosen, after.trials) == (before.chosen, before.trials)
    assert after.trials[after.chosen].score == min(trial.score for trial in after.trials)


def test_the_oracle_would_choose_what_is_nearest_to_retraining(tuned_builder):
    for found in tuned_builder.found.methods.values():
        assert found.oracle_gaps[found.oracle_tuned] == min(found.oracle_gaps)
    retrained = specs(tuned_builder, "retrain")[0]
    assert module.oracle_gap(tuned_builder, retrained) == 0


def test_a_trial_that_blew_up_scores_worst_and_the_file_can_still_be_read(
    tuned_builder, monkeypatch, tmp_path
):
    real, first = Builder.logits, tuned_builder.found.methods["finetune"].trials[1].settings

    def logits(builder, spec):
        found = real(builder, spec)
        rate = builder.study.settings("finetune").get("learning_rate")
        broken = spec.method == "finetune" and rate == first["learning_rate"]
        return np.full_like(found, np.nan) if broken else found

    def search_again(_ranges, _usual, evaluate, **_):
        trials = tuned_builder.found.methods["finetune"].trials
        return [evaluate(trial.settings) for trial in trials]

    monkeypatch.setattr(Builder, "logits", logits)
    monkeypatch.setattr(module, "search", search_again)
    found = freeze(tuned_builder, ["finetune"])
    broken = found.methods["finetune"].trials[1]
    assert (broken.score, broken.forget, broken.evaluation) == (WORST, None, None)
    assert found.methods["finetune"].oracle_gaps[1] == WORST
    assert 1 not in {found.methods["finetune"].oracle_tuned, found.methods["finetune"].chosen}
    path = tmp_path / "found.yaml"
    write_tuned(found, path, dataset="phantom", profile="tiny")
    assert read_tuned(path) == found
    canonical_hash(found.model_dump(mode="json"))  # as the synthesis is keyed


def test_the_originals_that_only_tuning_needs_are_told_doing_nothing_and_retraining(tuned_builder):
    found = tuned_builder.found
    assert len(found.original_seconds) == len(found.seeds)
    assert min(found.original_seconds) > 0
    assert found.exclusive
    # two seeds, three trials: finetune has two regions, salun three; and retraining two
    assert found.timed == 2 * 3 * (2 + 3) + 2 * 2
    untouched, retrained = tune_nothing(tuned_builder)
    assert found.doing_nothing == untouched.score
    assert found.retraining_seconds == list(retrained.seconds)
    # nothing is lost against the original by the original
    assert untouched.score == pytest.approx(abs(untouched.forget - untouched.evaluation), abs=0.2)


@pytest.fixture
def frozen(tuned_builder, tiny_profile):
    """The file in RUNS while a test lasts: other tests use the profile untuned."""
    path = tuned_path(tuned_builder.study.folder)
    write_tuned(tuned_builder.found, path, dataset="phantom", profile=tiny_profile)
    yield path
    path.unlink()


def reopen(builder):
    study = builder.study
    runs = str(study.folder.parent)
    return open_study("phantom", study.profile_name, runs=runs, device="cpu")


def test_the_file_says_all_that_was_found_and_the_study_reads_its_settings(tuned_builder, frozen):
    assert read_tuned(frozen) == tuned_builder.found
    study = reopen(tuned_builder)
    assert study.tuned == tuned_builder.found
    for name, found in tuned_builder.found.methods.items():
        assert study.settings(name) == {**study.usual_settings(name), **found.settings}


@pytest.mark.usefixtures("frozen")
def test_tuning_again_starts_from_the_usual_settings_not_from_the_tuned(tuned_builder):
    again = Builder(reopen(tuned_builder))
    assert tune_method(again, "salun") == tuned_builder.found.methods["salun"]


def add_setting(content):
    found = content["methods"]["salun"]
    for settings in (found["settings"], found["trials"][found["chosen"]]["settings"]):
        settings["rate"] = 1


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda c: c["methods"].update(saluun=c["methods"]["salun"]), "'saluun' is not known"),
        (add_setting, "setting 'rate'"),
        (lambda c: c.pop("seeds"), "seeds: is missing"),
        (lambda c: c.update(doing_nothing="much"), "doing_nothing: given 'much'"),
        (lambda c: c["methods"]["salun"].update(chosen=99), "among trials 0 to 2"),
        (
            lambda c: c["methods"]["salun"].update(settings={"epochs": 3}),
            "the settings of the chosen trial, and no others",
        ),
        (
            lambda c: c["methods"]["salun"]["trials"][0].update(seconds=[1.0]),
            "salun: expected seconds for each of the seeds",
        ),
    ],
)
def test_a_harmed_file_is_refused_with_a_remedy(tuned_builder, frozen, harm, said):
    content = yaml.safe_load(frozen.read_text())
    harm(content)
    frozen.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=said) as caught:
        reopen(tuned_builder)
    assert "make tune" in str(caught.value)


def test_settings_in_runs_win_over_those_the_package_ships(tuned_builder, tmp_path):
    folder = tmp_path / "phantom-laptop"
    shipped = find_tuned(folder, "laptop")
    assert shipped == read_tuned(SHIPPED / "phantom-laptop.yaml") is not None
    assert find_tuned(folder, str(tmp_path / "laptop.yaml")) is None  # another profile
    assert find_tuned(tmp_path / "mine-laptop", "laptop") is None  # another dataset
    write_tuned(tuned_builder.found, tuned_path(folder), dataset="phantom", profile="laptop")
    assert find_tuned(folder, "laptop") == tuned_builder.found


def test_trials_of_two_devices_are_not_added_up(tuned_builder, monkeypatch):
    real = Builder.costs

    def costs(builder, specs):
        other = "retrain" in {spec.method for spec in specs}
        return real(builder, specs).assign(device="another" if other else "this")

    monkeypatch.setattr(Builder, "costs", costs)
    with pytest.raises(InputError, match="timed on another, this"):
        freeze(tuned_builder, ["salun"])
