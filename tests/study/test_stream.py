"""Requests that come one after another: each is unlearned from the model before."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from medunlearn.cohort.forget_sets import draw_forget_set
from medunlearn.errors import InputError
from medunlearn.figures import plot_estimates
from medunlearn.study import builder as module
from medunlearn.study.builder import Builder
from medunlearn.study.cells import Cell, cells, stream_cells
from medunlearn.study.design import all_models, made_from, original, plan_jobs, unlearned
from medunlearn.study.exploratory import stream_panels, stream_section
from medunlearn.study.study import open_study
from tests.conftest import TINY
from tests.evaluation.synthetic import DRAW, make_study
from tests.study.test_synthesis import synthesis

STREAM = {"requests": 3, "up_to": 0.3, "methods": ["finetune"]}


@pytest.fixture
def builder(tiny_study, tmp_path):
    """Of the tiny study with a stream, all in one folder."""
    own = tmp_path / "tiny.yaml"
    own.write_text(yaml.safe_dump({**TINY, "stream": STREAM}))
    runs = str(tiny_study.folder.parent)
    return Builder(open_study("phantom", str(own), runs=runs, device="cpu"))


def steps(builder):
    """The models of the stream of the first seed."""
    return [unlearned("finetune", cell, 1000) for cell in stream_cells(builder.study.profile)]


def test_requests_are_nested_and_of_the_order_of_random_sets(builder):
    drawn = [set(builder.store.forget_set(step).patients) for step in steps(builder)]
    table = builder.study.cohort.table
    for step, patients in zip(steps(builder), drawn, strict=True):
        random = draw_forget_set(table, "random", step.cell.forget_size, "seed1000")
        assert set(random.patients) == patients
    assert drawn[0] < drawn[1] < drawn[2]
    sizes = np.diff([0, *map(len, drawn)])
    assert sizes.max() - sizes.min() <= 1
    whole = cells(builder.study.profile)[-1]
    assert (whole.composition, whole.forget_size) == ("at_once", 0.3)
    at_once = unlearned("finetune", whole, 1000)
    assert set(builder.store.forget_set(at_once).patients) == drawn[2]
    assert made_from(builder.study.profile, at_once) == [original(1000)]
    assert at_once in all_models(builder.study.profile)


def test_a_request_starts_from_the_model_before_and_forgets_its_own_patients_alone(
    builder, monkeypatch
):
    seen, real = [], module.get_method

    def noting(name):
        def note(model, task, **settings):
            weights = {k: v.clone() for k, v in model.state_dict().items()}
            seen.append((weights, set(task.retain.rows.tolist()), set(task.forget.rows.tolist())))
            return real(name)(model, task, **settings)

        note.reads = real(name).reads
        return note

    monkeypatch.setattr(module, "get_method", noting)
    builder.train([original(1000)])
    builder.unlearn(steps(builder)[-1:])  # those before it are made on the way
    starts = [original(1000), *steps(builder)[:-1]]
    gone, everybody = set(), set(builder.training_rows(original(1000))[0])
    for step, start, (weights, retain, forget) in zip(steps(builder), starts, seen, strict=True):
        expected = builder.trained(start).state_dict()
        assert all(torch.equal(weights[name], expected[name]) for name in expected), start.title
        so_far = set(builder.training_rows(step)[1])
        assert forget == so_far - gone
        assert retain == everybody - so_far
        gone = so_far
    heads = [weights["fc.weight"] for weights, *_ in seen]
    assert not torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[1], heads[2])


def test_a_request_depends_on_those_before(builder):
    store, profile = builder.store, builder.study.profile
    keys = [store.entry(step).key for step in steps(builder)]
    inputs = [store.entry(step).inputs for step in steps(builder)]
    assert inputs == [[store.entry(original(1000)).key], *([key] for key in keys[:-1])]
    other = builder.with_settings("finetune", {"epochs": 2})
    assert not set(keys) & {other.store.entry(step).key for step in steps(other)}
    # as many patients forgotten, but by other requests
    fewer = profile.model_copy(
        update={"stream": profile.stream.model_copy(update={"requests": 1, "up_to": 0.2})}
    )
    at_once = Builder(replace(builder.study, profile=fewer))
    (step,) = steps(at_once)
    assert step == steps(builder)[1]
    assert at_once.store.entry(step).key != store.entry(step).key


def test_a_stream_goes_on_where_it_was_killed_and_what_follows_a_lost_model_is_made_anew(
    builder, monkeypatch
):
    first, second, third = steps(builder)
    real = builder._unlearn

    def fail(folder, spec):
        if spec == second:
            raise KeyboardInterrupt
        real(folder, spec)

    builder.train([original(1000)])
    monkeypatch.setattr(builder, "_unlearn", fail)
    with pytest.raises(KeyboardInterrupt):
        builder.unlearn([third])
    made = (builder.store.path(first) / "record.json").stat().st_mtime_ns
    monkeypatch.undo()
    assert builder.store.missing([first, second, third]) == [second, third]
    builder.unlearn([third])
    assert (builder.store.path(first) / "record.json").stat().st_mtime_ns == made
    before = builder.logits(third)
    builder.store.discard(first)
    assert builder.store.missing([first, second, third]) == [first, second, third]
    builder.unlearn([third])
    np.testing.assert_array_equal(builder.logits(third), before)


def test_a_request_that_the_stream_has_not_is_told_with_those_that_it_has(builder, tiny_study):
    wrong = unlearned("finetune", Cell("stream", 0.15, "seed"), 1000)
    with pytest.raises(InputError, match=r"no request of a stream.*of sizes 0.1, 0.2, 0.3"):
        builder.store.entry(wrong)
    with pytest.raises(InputError, match="it has no stream"):
        made_from(tiny_study.profile, wrong)


def test_jobs_of_a_stream_wait_for_the_request_before(builder):
    jobs = {job.name: job for job in plan_jobs(builder.study.profile)}
    names = [f"03-finetune-{size}-percent-stream" for size in (10, 20, 30)]
    for earlier, later in pairwise(names):
        assert set(jobs[earlier].models) < set(jobs[later].needs)
    assert "03-finetune-30-percent-at_once" in jobs


def with_stream(made):
    """Also two requests, which end at the middle size, and both at once."""
    parts, logits = [made.models], [made.logits]
    chosen = made.models["role"].isin(["retrained", "unlearned"])
    draws = dict(made.draws)
    for composition, size in (("stream", 0.05), ("stream", 0.1), ("at_once", 0.1)):
        draw = f"{composition}-{size:g}-shared"
        draws[draw] = made.draws[DRAW]
        told = {"composition": composition, "forget_size": size, "draw": draw}
        parts.append(made.models[chosen].assign(**told))
        logits.append(-made.logits[chosen])
    models = pd.concat(parts, ignore_index=True)
    return replace(made, models=models, logits=np.concatenate(logits), draws=draws)


def test_a_stream_is_reported_and_shown_and_changes_nothing_else_of_a_study():
    made = make_study(seeds=3, floor_seeds=2, test=60, train=80, forget=20, methods=["finetune"])
    nothing = np.full_like(made.logits, np.nan)
    plain, found = synthesis(made, nothing), synthesis(with_stream(made), nothing)
    for name in ("controls", "verdicts", "audits", "calibration", "worst_groups", "fitness"):
        pd.testing.assert_frame_equal(getattr(plain, name), getattr(found, name))
    own = found.results["composition"].isin(["stream", "at_once"])
    pd.testing.assert_frame_equal(plain.results, found.results[~own])
    assert set(found.results.loc[own, "method"]) == {"original", "retrain", "floor", "finetune"}
    assert "Each of 2 requests" in stream_section(found)
    assert stream_section(plain) == ""
    assert all(rows.empty for rows in stream_panels(plain).values())
    panels = stream_panels(found)
    assert list(panels) == ["forget set", "test set"]
    for figure in plot_estimates(panels, axis_title="gap (points)", by="request"):
        (axis,) = figure.axes
        names = [text.get_text().strip() for text in axis.get_yticklabels(minor=True)]
        assert names == ["1", "2", "at once"] * 3
        markers = [line for line in axis.lines if line.get_marker() in {"x", "P", "o"}]
        places = sorted((line.get_ydata()[0], line.get_mfc() == "white") for line in markers)
        assert [hollow for _, hollow in places] == [False, False, True] * 3
