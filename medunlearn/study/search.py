"""The search for a method's settings, which never looks at a retrained model.

Needs optuna (the extra ``tune``).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.batches import Recipe
from medunlearn.cohort.partition import EVALUATION_VALIDATION, TRAIN
from medunlearn.errors import InputError
from medunlearn.evaluation.scores import patient_accuracy
from medunlearn.methods import Setting
from medunlearn.methods._task import Method
from medunlearn.randomness import stream
from medunlearn.study.tuned import Trial

try:
    import optuna
    from optuna.distributions import FloatDistribution, IntDistribution
except ImportError:
    raise InputError("tuning", ["optuna is not installed: pip install optuna"]) from None

optuna.logging.set_verbosity(optuna.logging.ERROR)

WORST = 2.0
"""The score of a trial whose model has diverged: none can be worse."""


def accuracies(
    logits: NDArray[np.float32], table: pd.DataFrame, forgotten: Collection[int]
) -> tuple[float, float]:
    """Accuracy on the forget set and on ``validation_evaluation``; each patient weighs the same.

    The latter are patients that no model was trained on. No test image is read.

    Args:
        logits: (samples, classes).
        table: The cohort's.
        forgotten: Patients of the development forget set.
    """
    forget = (table["partition"] == TRAIN) & table["patient"].isin(forgotten)
    held_out = table["partition"] == EVALUATION_VALIDATION
    return patient_accuracy(logits, table, forget), patient_accuracy(logits, table, held_out)


def score(unlearned: tuple[float, float], original: tuple[float, float]) -> float:
    """How far a model is from having forgotten: |acc_f - acc_e| + max(0, acc_e(original) - acc_e).

    No retrained model is read.

    Args:
        unlearned: Its accuracies, acc_f and acc_e.
        original: Those of the model that it was made from.

    Returns:
        0 (best) to ``WORST``.
    """
    found = abs(unlearned[0] - unlearned[1]) + max(0.0, original[1] - unlearned[1])
    return found if np.isfinite(found) else WORST


def find_ranges(
    method: Method, usual: Mapping[str, Setting], recipe: Recipe
) -> dict[str, IntDistribution | FloatDistribution]:
    """Where each setting is looked for: its usual range, widened to hold the setting in use.

    A range that spans a factor of ten or more is searched evenly over its logarithm.

    Args:
        method: Its ``ranges`` are those of the literature.
        usual: Settings of the profile; the method's own where it is silent.
        recipe: Of an original: it caps ``epochs``, for else a method's cost is decided by us.
    """
    own, found = method.usual(recipe), dict[str, IntDistribution | FloatDistribution]()
    for name, (low, high) in method.ranges.items():
        value: Any = usual.get(name, own[name])
        if name == "epochs":
            high = max(low, min(high, recipe.unlearning_epochs - method.preparation))
        low, high = min(low, float(value)), max(high, float(value))
        log = low > 0 and high / low >= 10
        if isinstance(own[name], int):  # a profile may say 1 where 1.0 is meant
            found[name] = IntDistribution(int(low), int(high), log)
        else:
            found[name] = FloatDistribution(low, high, log)
    return found


def search(
    ranges: Mapping[str, IntDistribution | FloatDistribution],
    usual: Mapping[str, Setting],
    evaluate: Callable[[dict[str, Setting]], Trial],
    *,
    trials: int,
    name: str,
) -> list[Trial]:
    """Try settings one after the other, the usual ones first; the same calls give the same trials.

    The first half is drawn at random, the rest where earlier trials did well (a tree-structured
    Parzen estimator). Settings that were tried before are not tried again, nor billed twice: where
    few whole numbers are all there is, fewer trials are made.

    Args:
        ranges: Where to look.
        usual: Trial 0.
        evaluate: Tries settings.
        trials: How many.
        name: Names the stream of random numbers.

    Returns:
        The trials in the order they were made, without repeats.
    """
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=max(1, trials // 2), seed=int(stream("tuning", name).integers(2**31))
    )
    study = optuna.create_study(sampler=sampler, direction="minimize")
    study.enqueue_trial({key: type(each.low)(usual[key]) for key, each in ranges.items()})
    found: dict[tuple[Any, ...], Trial] = {}
    for _ in range(trials):
        asked = study.ask(dict(ranges))
        key = tuple(sorted(asked.params.items()))
        if key not in found:
            found[key] = evaluate(dict(asked.params))
        study.tell(asked, found[key].score)
    return list(found.values())


def choose(trials: Sequence[Trial]) -> Trial:
    """The trial with the lowest score; of equals the cheapest."""
    return min(trials, key=lambda trial: (trial.score, sum(trial.seconds)))
