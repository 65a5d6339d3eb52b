"""Tuning: settings tried on the development forget set, each trial timed and booked."""

from dataclasses import replace

import numpy as np
import torch

from medunlearn.cohort.partition import EVALUATION_VALIDATION, TRAIN
from medunlearn.cost import device_name
from medunlearn.evaluation.levels import patient_accuracy
from medunlearn.methods import Setting, get_method
from medunlearn.sources import canonical_hash
from medunlearn.study.models import ModelSpec, development_seeds, original, trial
from medunlearn.study.tuned import Found, Tuned
from medunlearn.study.workbench import Workbench
from medunlearn.tuning import Trial, choose, find_ranges, score, search


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
        tried = bench.with_settings(method, {**study.usual_settings(method), **settings})
        specs = [trial(method, seed) for seed in development_seeds(study.profile)]
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
        chosen=trials.index(best),
        oracle_tuned=int(np.argmin(gaps)),
        oracle_gaps=gaps,
        trials=trials,
    )


def tune_nothing(bench: Workbench) -> tuple[Trial, Trial]:
    """The two yardsticks of a search: the originals as they are, and models retrained, timed."""
    seeds = development_seeds(bench.study.profile)
    retrained = [trial("retrain", seed) for seed in seeds]
    bench.try_out(retrained)
    untouched = [trial("original", seed) for seed in seeds]
    bench.try_out(untouched)
    return _score(bench, untouched), _score(bench, retrained)


def oracle_gap(bench: Workbench, spec: ModelSpec) -> float:
    """|acc_f - acc_f(retrained)| + |acc_e - acc_e(retrained)| of a trial: for comparison alone.

    Nothing is chosen by it: who unlearns has no retrained model. What would have been is called
    ``oracle_tuned`` wherever it is told.
    """
    table = bench.study.cohort.table
    forgotten = bench.ledger.draws.of(spec).patients
    forget = (table["partition"] == TRAIN) & table["patient"].isin(forgotten)
    held_out = table["partition"] == EVALUATION_VALIDATION
    mine, ideal = bench.logits(spec), bench.logits(trial("retrain", spec.seed))
    return sum(
        abs(patient_accuracy(mine, table, part) - patient_accuracy(ideal, table, part))
        for part in (forget, held_out)
    )


def freeze(bench: Workbench, methods: list[str]) -> Tuned:
    """All that was found, from trials that are in the ledger."""
    study = bench.study
    untouched, retrained = tune_nothing(bench)
    development = trial("original", development_seeds(study.profile)[0])
    return Tuned(
        cohort=study.cohort.sha256,
        recipe=canonical_hash(study.recipe),
        device=device_name(bench.device),
        torch=torch.__version__,
        patients=len(bench.ledger.draws.of(development).patients),
        seeds=development_seeds(study.profile),
        doing_nothing=untouched.score,
        retraining_seconds=list(retrained.seconds),
        methods={method: tune_method(bench, method) for method in methods},
    )


def _score(bench: Workbench, specs: list[ModelSpec]) -> Trial:
    """A trial from the stored predictions and bills of its seeds."""
    scores = [
        score(
            bench.logits(spec),
            bench.logits(original(spec.seed)),
            bench.study.cohort.table,
            bench.ledger.draws.of(spec).patients,
        )
        for spec in specs
    ]
    found, forget, evaluation = (float(np.mean(each)) for each in zip(*scores, strict=True))
    seconds = [float(bench.costs([spec])["seconds"].sum()) for spec in specs]
    return Trial({}, found, forget, evaluation, tuple(seconds))
