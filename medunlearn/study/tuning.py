"""From a study to its tuned settings: every trial timed alone on the device, and booked."""

import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from medunlearn.errors import InputError
from medunlearn.evaluation.costs import disturbed
from medunlearn.methods import Setting, get_method
from medunlearn.sources import canonical_hash
from medunlearn.study.builder import Builder
from medunlearn.study.cluster import open_engine
from medunlearn.study.design import Job, ModelSpec, development_seeds, original, trial
from medunlearn.study.reproduce import alone
from medunlearn.study.search import WORST, accuracies, choose, find_ranges, score, search
from medunlearn.study.study import Study
from medunlearn.study.tuned import Found, Trial, Tuned, method_code, tuned_path, write_tuned


def tune(study: Study, *, write: Callable[[str], None] = print) -> dict[str, str]:
    """Search the settings of every method of the profile, and freeze what was found.

    One search runs at a time, whatever JOBS is: each trial is timed. Trials that are in the store
    are not made again, so a search that was stopped goes on.

    Args:
        study: The study.
        write: Takes a line of progress, and where the settings are.

    Returns:
        Name and fault of each search that failed: then no file is written.

    Raises:
        InputError: Another run holds the study, or optuna is not installed.
    """
    methods, path, builder = list(study.profile.methods), tuned_path(study.folder), Builder(study)
    jobs = [Job(f"06_tuning-{m}", "06_tuning", {"method": m}, alone=True) for m in methods]
    with alone(study.folder):
        builder.store.sweep()
        with open_engine(study, builder.store, jobs=1, write=write) as engine:
            faults = engine.run(jobs)
        if not faults:
            found = freeze(builder, methods)
            write_tuned(found, path, dataset=study.dataset, profile=study.profile_name)
    for name, fault in faults.items():
        write(f"failed job {name}: {fault}")
    write("no settings were frozen" if faults else f"settings: {path}")
    return faults


def tune_method(builder: Builder, method: str) -> Found:
    """Search the settings of one method; trials that were made before are read from the store.

    Args:
        builder: Of the study whose settings are to be found.
        method: Name in the registry.
    """
    study, record = builder.study, get_method(method)
    usual: dict[str, Any] = {**record.usual(builder.recipe), **study.usual_settings(method)}
    gaps: list[float] = []

    def evaluate(settings: dict[str, Setting]) -> Trial:
        tried, specs = _with_settings(builder, method, settings), _specs(builder, method)
        tried.try_out(specs)
        gaps.append(float(np.mean([oracle_gap(tried, spec) for spec in specs])))
        return replace(_score(tried, specs), settings=settings)

    ranges = find_ranges(record, usual, builder.recipe)
    trials = search(ranges, usual, evaluate, trials=study.profile.tuning.trials, name=method)
    best = choose(trials)
    return Found(
        settings=best.settings,
        usual=dict(study.usual_settings(method)),
        code=method_code(method),
        chosen=trials.index(best),
        oracle_tuned=int(np.argmin(gaps)),
        oracle_gaps=gaps,
        trials=trials,
    )


def tune_nothing(builder: Builder) -> tuple[Trial, Trial]:
    """The two yardsticks of a search: the originals as they are, and models retrained, timed."""
    retrained, untouched = _specs(builder, "retrain"), _specs(builder, "original")
    builder.try_out(retrained)
    builder.try_out(untouched)
    return _score(builder, untouched), _score(builder, retrained)


def freeze(builder: Builder, methods: list[str]) -> Tuned:
    """All that was found, from trials that are in the store.

    Raises:
        InputError: Trials were timed on more than one device.
    """
    study, seeds = builder.study, development_seeds(builder.study.profile)
    untouched, retrained = tune_nothing(builder)
    found = {method: tune_method(builder, method) for method in methods}
    bills = pd.concat(
        [
            _with_settings(builder, method, tried.settings).costs(_specs(builder, method))
            for method in methods
            for tried in found[method].trials
        ]
        + [builder.costs(_specs(builder, "retrain"))]
    )
    if len(devices := sorted(bills["device"].unique())) > 1:
        told = f"trials were timed on {', '.join(devices)}: on one of them, make clean, make tune"
        raise InputError("tuning", [told])
    return Tuned(
        cohort=study.cohort.sha256,
        recipe=canonical_hash(study.recipe),
        device=devices[0],
        device_type=study.device,
        host=socket.gethostname(),
        torch=torch.__version__,
        exclusive=bool(bills["exclusive"].all()),
        timed=len(bills),
        disturbed=len(disturbed(bills)),
        patients=len(builder.store.forget_set(trial("original", seeds[0])).patients),
        seeds=seeds,
        doing_nothing=untouched.score,
        retraining_seconds=list(retrained.seconds),
        original_seconds=[float(builder.costs([original(s)])["seconds"].sum()) for s in seeds],
        methods=found,
    )


def oracle_gap(builder: Builder, spec: ModelSpec) -> float:
    """|acc_f - acc_f(retrained)| + |acc_e - acc_e(retrained)| of a trial: for comparison alone.

    Nothing is chosen by it: who unlearns has no retrained model. What would have been is called
    ``oracle_tuned`` wherever it is told.
    """
    mine, ideal = _accuracies(builder, spec), _accuracies(builder, trial("retrain", spec.seed))
    found = sum(abs(a - b) for a, b in zip(mine, ideal, strict=True))
    return found if np.isfinite(found) else WORST


def _specs(builder: Builder, method: str) -> list[ModelSpec]:
    """A trial of the method on every development seed."""
    return [trial(method, seed) for seed in development_seeds(builder.study.profile)]


def _with_settings(builder: Builder, method: str, settings: dict[str, Setting]) -> Builder:
    """The builder of a trial: what is not searched is as usual, whatever was tuned before."""
    usual = builder.study.usual_settings(method)
    return builder.with_settings(method, {**usual, **settings})


def _accuracies(
    builder: Builder, spec: ModelSpec, model: ModelSpec | None = None
) -> tuple[float, float]:
    """Of a trial, or of another model on the forget set of the trial."""
    forgotten = builder.store.forget_set(spec).patients
    return accuracies(builder.logits(model or spec), builder.study.cohort.table, forgotten)


def _score(builder: Builder, specs: list[ModelSpec]) -> Trial:
    """A trial from the stored predictions and bills of its seeds."""
    found = [_accuracies(builder, spec) for spec in specs]
    before = [_accuracies(builder, spec, original(spec.seed)) for spec in specs]
    scores = [score(*pair) for pair in zip(found, before, strict=True)]
    means = [float(np.mean(each)) for each in zip(*found, strict=True)]
    forget, evaluation = (None if np.isnan(mean) else mean for mean in means)
    seconds = tuple(float(builder.costs([spec])["seconds"].sum()) for spec in specs)
    return Trial({}, float(np.mean(scores)), forget, evaluation, seconds)
