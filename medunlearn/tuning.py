"""The search for a method's settings, which never looks at a retrained model.

Needs optuna (the extra ``tune``) for the search itself alone.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import EVALUATION_VALIDATION, TRAIN
from medunlearn.errors import InputError
from medunlearn.evaluation.scores import patient_accuracy
from medunlearn.methods import Setting
from medunlearn.randomness import stream

if TYPE_CHECKING:  # what was found must be readable without importing torch
    from medunlearn.batches import Recipe
    from medunlearn.methods._task import Method

WORST = 2.0
"""The score of a trial whose model has blown up: none can be worse."""


@dataclass(frozen=True)
class Range:
    """Where a setting is looked for.

    Args:
        low: Lowest value.
        high: Highest value, included.
        whole: Whole numbers only.
        log: Evenly over the logarithm: wherever a range spans a factor of ten or more.
    """

    low: float
    high: float
    whole: bool
    log: bool


@dataclass(frozen=True)
class Trial:
    """One setting, tried on the originals of every development seed.

    Args:
        settings: What was tried.
        score: What is minimised (see ``score``), mean over seeds; 0 is best, 2 the worst.
        forget: Accuracy on the development forget set, mean over seeds; none if a model blew up.
        evaluation: Accuracy on ``validation_evaluation``, likewise.
        seconds: Preparation and unlearning, one number for each seed.
    """

    settings: dict[str, Setting]
    score: float
    forget: float | None
    evaluation: float | None
    seconds: tuple[float, ...]


def find_ranges(
    method: "Method", usual: Mapping[str, Setting], recipe: "Recipe"
) -> dict[str, Range]:
    """The usual range of each setting that is tuned, widened to hold the setting in use.

    Args:
        method: Its ``ranges`` are those of the literature.
        usual: Settings of the profile; the method's own where it is silent.
        recipe: Of an original: it caps ``epochs``, for else a method's cost is decided by us.
    """
    found, own = {}, method.usual(recipe)
    for name, (low, high) in method.ranges.items():
        # a profile may say 1 where 1.0 is meant
        whole = isinstance(own[name], int)
        value = usual.get(name, own[name])
        if name == "epochs":
            high = max(low, min(high, recipe.unlearning_epochs - method.preparation))
        low, high = min(low, float(value)), max(high, float(value))  # type: ignore[arg-type]
        found[name] = Range(low, high, whole, low > 0 and high / low >= 10)
    return found


def score(
    unlearned: NDArray[np.float32],
    original: NDArray[np.float32],
    table: pd.DataFrame,
    forgotten: Collection[int],
) -> tuple[float, float, float]:
    """How far a model is from having forgotten: |acc_f - acc_e| + max(0, acc_e(original) - acc_e).

    acc_f is the accuracy on the forget set, acc_e that on ``validation_evaluation``: patients that
    no model was trained on. Each patient weighs the same. Neither a retrained model nor a test
    image is read.

    Args:
        unlearned: Logits, (samples, classes).
        original: Logits of the model that it was made from.
        table: The cohort's.
        forgotten: Patients of the development forget set.

    Returns:
        The score (0 to 2), acc_f and acc_e of the unlearned model.
    """
    forget = (table["partition"] == TRAIN) & table["patient"].isin(forgotten)
    held_out = table["partition"] == EVALUATION_VALIDATION
    on_forget = patient_accuracy(unlearned, table, forget)
    after, before = (patient_accuracy(each, table, held_out) for each in (unlearned, original))
    found = abs(on_forget - after) + max(0.0, before - after)
    return (found if np.isfinite(found) else WORST), on_forget, after


def search(
    ranges: Mapping[str, Range],
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

    Raises:
        InputError: optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise InputError("tuning", ["optuna is not installed: pip install optuna"]) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=max(1, trials // 2),
        seed=int(stream("tuning", name).integers(2**31)),
    )
    looked_for = {key: _distribution(optuna, each) for key, each in ranges.items()}
    study = optuna.create_study(sampler=sampler, direction="minimize")
    study.enqueue_trial(
        {key: int(usual[key]) if each.whole else float(usual[key]) for key, each in ranges.items()}
    )
    found: dict[tuple[Any, ...], Trial] = {}
    for _ in range(trials):
        asked = study.ask(looked_for)
        settings = dict(asked.params)
        key = tuple(sorted(settings.items()))
        if key not in found:
            found[key] = evaluate(settings)
        study.tell(asked, found[key].score)
    return list(found.values())


def choose(trials: Sequence[Trial]) -> Trial:
    """The trial with the lowest score; of equals the cheapest."""
    return min(trials, key=lambda trial: (trial.score, sum(trial.seconds)))


def _distribution(optuna: Any, sought: Range) -> Any:
    if sought.whole:
        return optuna.distributions.IntDistribution(int(sought.low), int(sought.high), sought.log)
    return optuna.distributions.FloatDistribution(sought.low, sought.high, sought.log)
