from collections import Counter

import pytest
import torch
import yaml
from papermill import inspect_notebook

from medunlearn.errors import InputError
from medunlearn.models import NETWORKS, build_network
from medunlearn.study.cells import BY_DIFFICULTY, cells, is_floor, make_cell, middle_cell
from medunlearn.study.design import (
    COHORT,
    SYNTHESIS,
    Job,
    all_models,
    all_timings,
    development_seeds,
    is_watched,
    original,
    plan_jobs,
    references,
    retrained,
)
from medunlearn.study.profile import load_profile
from medunlearn.study.study import PROJECT
from tests.conftest import TINY

LAPTOP, COMPOSITIONS = load_profile("laptop"), load_profile("compositions")


def test_the_laptop_study_has_every_cell_of_the_protocol():
    design = {(cell.composition, cell.forget_size, cell.draw) for cell in cells(LAPTOP)}
    assert design == {
        ("random", 0.05, "seed"), ("random", 0.1, "shared"), ("random", 0.2, "seed")
    }  # fmt: skip
    by_whom = {(cell.composition, cell.forget_size, cell.draw) for cell in cells(COMPOSITIONS)}
    requests = [("stream", size, "seed") for size in (0.05, 0.1, 0.15, 0.2)]
    assert by_whom == {
        *((name, 0.1, "shared") for name in ("random", "female", "male", "easy", "hard")),
        *requests, ("at_once", 0.2, "seed"),
    }  # fmt: skip


def test_confirmatory_methods_are_run_and_timed_at_all_sizes_and_others_at_the_middle_size():
    """Doing nothing needs no run of its own: its models are the originals."""
    others = set(LAPTOP.methods) - set(LAPTOP.confirmatory)
    for size in LAPTOP.forget_sizes:
        run = Counter(
            spec.method
            for spec in all_models(LAPTOP)
            if spec.role == "unlearned" and spec.cell.forget_size == size
        )
        expected = {*LAPTOP.confirmatory, *({*others, "original"} if size == 0.1 else ())}
        assert run == dict.fromkeys(expected, LAPTOP.seeds)
        timed = {spec.method for spec in all_timings(LAPTOP) if spec.cell.forget_size == size}
        assert timed == expected - {"original"} | ({"retrain"} if size == 0.1 else set())


def test_set_b_forgets_what_its_partner_forgets_at_every_size():
    """So that it is the null control of the slope over sizes."""
    by_size = {size: {} for size in LAPTOP.forget_sizes}
    for spec in all_models(LAPTOP):
        if spec.role == "retrained":
            by_size[spec.cell.forget_size][spec.seed] = spec
    for here in by_size.values():
        floor = [seed for seed in here if here[seed].oracle_set == "B"]
        assert floor == [1100 + number for number in range(LAPTOP.floor_seeds)]
        assert all(here[seed].draw == here[seed - 100].draw for seed in floor)
        assert {here[seed - 100].oracle_set for seed in floor} == {"A"}
    assert len({spec.draw for spec in by_size[0.05].values()}) == LAPTOP.seeds
    assert len({spec.draw for spec in by_size[0.1].values()}) == 1


def test_every_unlearned_model_has_its_original_and_retrained_model_in_the_design():
    specs = all_models(LAPTOP)
    assert len(specs) == len(set(specs))
    for spec in specs:
        if spec.role == "unlearned":
            assert retrained(spec.cell, spec.seed) in specs


def test_one_draw_serves_all_seeds_at_the_middle_size_and_each_its_own_elsewhere():
    names = {
        (spec.cell.forget_size, spec.draw)
        for spec in all_models(LAPTOP)
        if spec.role == "unlearned" and spec.cell.composition == "random"
    }
    sizes = [size for size, _ in names]
    assert sizes.count(0.1) == 1
    assert sizes.count(0.05) == sizes.count(0.2) == LAPTOP.seeds


def seeds_of(profile):
    seeds = {"A": set(), "B": set(), None: set(), "reference": set()}
    for spec in [*all_models(profile), *all_timings(profile)]:
        seeds["reference" if spec.role == "reference" else spec.oracle_set].add(spec.seed)
    return seeds


def test_the_floor_and_the_reference_models_use_seeds_that_nothing_else_uses():
    seeds = seeds_of(LAPTOP)
    assert min(seeds["B"]) >= 1100 > max(seeds["A"] | seeds[None])
    assert min(seeds["reference"]) >= 1200 > max(seeds["B"])
    assert len(seeds["reference"]) >= 16


def test_another_first_seed_replicates_the_whole_study_on_seeds_of_its_own():
    other = LAPTOP.model_copy(update={"first_seed": 3000})
    moved = {role: {seed + 2000 for seed in some} for role, some in seeds_of(LAPTOP).items()}
    assert seeds_of(other) == moved
    own = {spec.draw for spec in all_models(other) if spec.seed in {3004, 3104} and spec.draw}
    assert own == {"random-0.05-seed3004", "random-0.1-shared", "random-0.2-seed3004"}
    assert not any(is_floor(seed) for seed in development_seeds(other)), "9100 and on"


def test_the_return_of_the_forget_set_is_watched_at_the_middle_size_only():
    watched = [spec for spec in all_models(LAPTOP) if is_watched(LAPTOP, spec)]
    roles = Counter(spec.method or spec.oracle_set for spec in watched)
    assert roles == dict.fromkeys(("original", "A", *LAPTOP.methods), 20) | {"B": 8}
    assert {spec.cell for spec in watched} == {middle_cell(LAPTOP)}


def test_titles_tell_models_apart():
    titles = [spec.title for spec in [*all_models(LAPTOP), *all_timings(LAPTOP)]]
    assert len(titles) == len(set(titles))
    assert "unlearned salun, random-0.05-seed1003, seed 1003" in titles
    assert "timing salun, random-0.05-seed1000, seed 1000" in titles, "at every size"


def test_unknown_parameters_are_told_with_the_choices():
    with pytest.raises(InputError) as error:
        make_cell("women", 0.1, "both")
    assert len(error.value.faults) == 2
    assert "random, female, male" in str(error.value)


def test_a_new_network_is_named_in_one_place(monkeypatch, tmp_path):
    monkeypatch.setitem(NETWORKS, "mine", NETWORKS["resnet_tiny"])
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({**TINY, "network": "mine"}))
    assert load_profile(str(tmp_path / "own.yaml")).network == "mine"
    assert isinstance(build_network("mine", channels=1, classes=2, seed=0), torch.nn.Module)


def test_no_job_starts_before_its_forget_set_can_be_drawn():
    for job in plan_jobs(COMPOSITIONS):
        drawn_by_difficulty = job.parameters.get("composition") in BY_DIFFICULTY
        assert set(references(COMPOSITIONS)).issubset(job.needs) == drawn_by_difficulty, job.name


def test_every_parameter_of_a_job_is_one_of_its_notebook():
    """Of another one papermill would only warn, and the notebook would use its default."""
    own = {"dataset": "", "data_root": "", "runs": "", "profile": "", "device": ""}
    search = Job("06_tuning-salun", "06_tuning", {"method": "salun"})
    for job in [*plan_jobs(LAPTOP), search, Job(COHORT, COHORT), Job(SYNTHESIS, SYNTHESIS)]:
        known = inspect_notebook(PROJECT / "notebooks" / f"{job.notebook}.ipynb")
        assert {**own, **job.parameters}.keys() <= known.keys(), job.name


@pytest.mark.parametrize("profile", [LAPTOP, COMPOSITIONS], ids=["laptop", "compositions"])
def test_no_job_makes_what_another_makes_at_the_same_time(profile):
    """A notebook makes itself what it shows beside a model and does not find."""
    jobs, made = plan_jobs(profile), set()
    for job in jobs:
        if job.models[0].role in {"retrained", "unlearned"}:
            beside = {original(spec.seed) for spec in job.models if spec.oracle_set != "B"}
            assert beside <= set(job.needs)
        assert set(job.needs) <= made, "inputs first"
        assert not made & set(job.models)
        made |= set(job.models)
    assert made == {*all_models(profile), *all_timings(profile)}
    assert len({job.name for job in jobs}) == len(jobs)
