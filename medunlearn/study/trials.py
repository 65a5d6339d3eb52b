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
from medunlearn.study.builder import Workbench
from medunlearn.study.design import ModelSpec, development_seeds, original, trial
from medunlearn.study.tuned import Found, Tuned, method_code
from medunlearn.tuning import WORST, Trial, choose, find_ranges, score, search


def tune_method(bench: Workbench, method: str) -> Found:
    """Search the settings of one method; trials that were made before are read from the ledger.

    Args:
        bench: Of the study whose settings are to be found.
        method: Name in the registry.
    """
    study, record = bench.study, get_method(method)
    usual = {**record.settings, **study.usual_settings(method)}
    ranges = find_ranges(record, usual, study.profile.training.epochs)  # type: ignore[arg-type]
    gaps: list[float] = []

    def evaluate(settings: dict[str, Setting]) -> Trial:
        tried, specs = _with_settings(bench, method, settings), _specs(bench, method)
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


def tune_nothing(bench: Workbench) -> tuple[Trial, Trial]:
    """The two yardsticks of a search: the originals as they are, and models retrained, timed."""
    retrained, untouched = _specs(bench, "retrain"), _specs(bench, "original")
    bench.try_out(retrained)
    bench.try_out(untouched)
    return _score(bench, untouched), _score(bench, retrained)


def oracle_gap(bench: Workbench, spec: ModelSpec) -> float:
    """|acc_f - acc_f(retrained)| + |acc_e - acc_e(retrained)| of a trial: for comparison alone.

    Nothing is chosen by it: who unlearns has no retrained model. What would have been is called
    ``oracle_tuned`` wherever it is told.
    """
    table = bench.study.cohort.table
    forgotten = bench.ledger.forget_set(spec).patients
    forget = (table["partition"] == TRAIN) & table["patient"].isin(forgotten)
    held_out = table["partition"] == EVALUATION_VALIDATION
    mine, ideal = bench.logits(spec), bench.logits(trial("retrain", spec.seed))
    found = sum(
        abs(patient_accuracy(mine, table, part) - patient_accuracy(ideal, table, part))
        for part in (forget, held_out)
    )
    return found if np.isfinite(found) else WORST


def freeze(bench: Workbench, methods: list[str]) -> Tuned:
    """All that was found, from trials that are in the ledger.

    Raises:
        InputError: Trials were timed on more than one device.
    """
    study, seeds = bench.study, development_seeds(bench.study.profile)
    untouched, retrained = tune_nothing(bench)
    found = {method: tune_method(bench, method) for method in methods}
    bills = pd.concat(
        [
            _with_settings(bench, method, tried.settings).costs(_specs(bench, method))
            for method in methods
            for tried in found[method].trials
        ]
        + [bench.costs(_specs(bench, "retrain"))]
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
        patients=len(bench.ledger.forget_set(trial("original", seeds[0])).patients),
        seeds=seeds,
        doing_nothing=untouched.score,
        retraining_seconds=list(retrained.seconds),
        original_seconds=[float(bench.costs([original(s)])["seconds"].sum()) for s in seeds],
        methods=found,
    )


def _specs(bench: Workbench, method: str) -> list[ModelSpec]:
    """A trial of the method on every development seed."""
    return [trial(method, seed) for seed in development_seeds(bench.study.profile)]


def _with_settings(bench: Workbench, method: str, settings: dict[str, Setting]) -> Workbench:
    """The workbench of a trial: what is not searched is as usual, whatever was tuned before."""
    usual = bench.study.usual_settings(method)
    return bench.with_settings(method, {**usual, **settings})


def _score(bench: Workbench, specs: list[ModelSpec]) -> Trial:
    """A trial from the stored predictions and bills of its seeds."""
    scores = [
        score(
            bench.logits(spec),
            bench.logits(original(spec.seed)),
            bench.study.cohort.table,
            bench.ledger.forget_set(spec).patients,
        )
        for spec in specs
    ]
    found, forget, evaluation = (float(np.mean(each)) for each in zip(*scores, strict=True))
    told = [None if np.isnan(each) else each for each in (forget, evaluation)]
    seconds = [float(bench.costs([spec])["seconds"].sum()) for spec in specs]
    return Trial({}, found, told[0], told[1], tuple(seconds))
