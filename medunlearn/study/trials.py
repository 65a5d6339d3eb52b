"""Tuning: settings tried on the development forget set, each trial timed and booked."""

import socket
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from medunlearn.cohort.partition import EVALUATION_VALIDATION, TRAIN
from medunlearn.errors import InputError
from medunlearn.evaluation.costs import disturbed
from medunlearn.evaluation.scores import patient_accuracy
from medunlearn.methods import Setting, get_method
from medunlearn.sources import canonical_hash
from medunlearn.study.builder import Builder
from medunlearn.study.design import ModelSpec, development_seeds, original, trial
from medunlearn.study.tuned import Found, Tuned, method_code
from medunlearn.tuning import WORST, Trial, choose, find_ranges, score, search


def tune_method(builder: Builder, method: str) -> Found:
    """Search the settings of one method; trials that were made before are read from the store.

    Args:
        builder: Of the study whose settings are to be found.
        method: Name in the registry.
    """
    study, record = builder.study, get_method(method)
    usual = {**record.usual(builder.recipe), **study.usual_settings(method)}
    ranges = find_ranges(record, usual, builder.recipe)  # type: ignore[arg-type]
    gaps: list[float] = []

    def evaluate(settings: dict[str, Setting]) -> Trial:
        tried, specs = _with_settings(builder, method, settings), _specs(builder, method)
        tried.try_out(specs)
        gaps.append(float(np.mean([oracle_gap(tried, spec) for spec in specs])))
        return replace(_score(tried, specs), settings=settings)

    trials = search(
        ranges,
        usual,  # type: ignore[arg-type]
        evaluate,
        trials=study.profile.tuning.trials,
        name=method,
    )
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


def oracle_gap(builder: Builder, spec: ModelSpec) -> float:
    """|acc_f - acc_f(retrained)| + |acc_e - acc_e(retrained)| of a trial: for comparison alone.

    Nothing is chosen by it: who unlearns has no retrained model. What would have been is called
    ``oracle_tuned`` wherever it is told.
    """
    table = builder.study.cohort.table
    forgotten = builder.store.forget_set(spec).patients
    forget = (table["partition"] == TRAIN) & table["patient"].isin(forgotten)
    held_out = table["partition"] == EVALUATION_VALIDATION
    mine, ideal = builder.logits(spec), builder.logits(trial("retrain", spec.seed))
    found = sum(
        abs(patient_accuracy(mine, table, part) - patient_accuracy(ideal, table, part))
        for part in (forget, held_out)
    )
    return found if np.isfinite(found) else WORST


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
        raise InputError(
            "tuning",
            [f"trials were timed on {', '.join(devices)}: on one of them, make clean, make tune"],
        )
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


def _specs(builder: Builder, method: str) -> list[ModelSpec]:
    """A trial of the method on every development seed."""
    return [trial(method, seed) for seed in development_seeds(builder.study.profile)]


def _with_settings(builder: Builder, method: str, settings: dict[str, Setting]) -> Builder:
    """The builder of a trial: what is not searched is as usual, whatever was tuned before."""
    usual = builder.study.usual_settings(method)
    return builder.with_settings(method, {**usual, **settings})


def _score(builder: Builder, specs: list[ModelSpec]) -> Trial:
    """A trial from the stored predictions and bills of its seeds."""
    scores = [
        score(
            builder.logits(spec),
            builder.logits(original(spec.seed)),
            builder.study.cohort.table,
            builder.store.forget_set(spec).patients,
        )
        for spec in specs
    ]
    found, forget, evaluation = (float(np.mean(each)) for each in zip(*scores, strict=True))
    told = [None if np.isnan(each) else each for each in (forget, evaluation)]
    seconds = [float(builder.costs([spec])["seconds"].sum()) for spec in specs]
    return Trial({}, found, told[0], told[1], tuple(seconds))
