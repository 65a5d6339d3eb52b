"""What an attack can certify, and when there are too few models to say."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from medunlearn.evaluation.audits.matching import Match

Floats = NDArray[np.float64]

FEWEST_MODELS = 64
FEWEST_FALSE_POSITIVES = 10


@dataclass(frozen=True)
class Certified:
    """A figure that may not be estimable.

    Args:
        value: NaN if it is not.
        cap: The largest value that as many models could have given, NaN where there is none.
        note: Why it is not estimable, or beside what it stands.
    """

    value: float
    cap: float
    note: str


def true_positive_rate_at(
    match: Match, member_scores: Floats, other_scores: Floats, *, rate: float, models: int
) -> Certified:
    """Share of members above the threshold that at most ``rate`` of the non-members exceed.

    Args:
        match: Who is compared with whom.
        member_scores: (members,).
        other_scores: (others,).
        rate: False positive rate, 0 to 1.
        models: How many models the rate is going to be averaged over.
    """
    weights = match.weights
    # weighted non-members count as many as equally weighted ones of the same variance (Kish)
    negatives = 1 / float((weights**2).sum()) if len(weights) else 0.0
    reasons = []
    # weights sum to 1 but for rounding
    if rate * negatives < FEWEST_FALSE_POSITIVES - 1e-6:
        allowed = f"{rate:g} x {negatives:.0f} non-members allow {rate * negatives:.1f}"
        reasons.append(f"{allowed} false positives, at least {FEWEST_FALSE_POSITIVES} needed")
    if models < FEWEST_MODELS:
        reasons.append(_too_few(models))
    if reasons:
        return Certified(np.nan, np.nan, f"not estimable: {'; '.join(reasons)}")
    order = np.argsort(other_scores, kind="stable")[::-1]
    reached = np.cumsum(weights[order])
    threshold = other_scores[order][np.searchsorted(reached, rate + 1e-12, side="right")]
    return Certified(float((member_scores > threshold).mean()), np.nan, "")


def epsilon_bound(
    true_positives: int, false_positives: int, models: int, *, level: float = 0.95
) -> Certified:
    """Lower confidence bound of epsilon between two distributions of models.

    max(log TPR_low / FPR_high, log TNR_low / FNR_high, 0) with exact (Clopper-Pearson) limits of
    TPR and FPR: the hypothesis-testing view of differential privacy (Kairouz, Oh & Viswanath 2015,
    delta = 0), as an audit Jagielski, Ullman & Oprea 2020, "Auditing Differentially Private
    Machine Learning". With n models a side even a faultless attack certifies no more
    than the cap.

    Args:
        true_positives: Unlearned models that the attack calls unlearned.
        false_positives: Retrained models that it calls unlearned.
        models: Of either kind.
        level: Of the two-sided limits of each rate.
    """
    cap = _epsilon(models, 0, models, level)
    if models < FEWEST_MODELS:
        return Certified(np.nan, cap, f"not estimable: {_too_few(models)}; cap {cap:.2f}")
    value = max(0.0, _epsilon(true_positives, false_positives, models, level))
    return Certified(value, cap, f"at most {cap:.2f} can be certified")


def distinguish_models(unlearned: Floats, retrained: Floats, *, level: float = 0.95) -> Certified:
    """Epsilon between unlearned and retrained models, told apart by one number of each.

    The threshold and its direction are set on the first half of the models and counted on the
    second: counts that helped to choose it would certify too much.

    Args:
        unlearned: For example mean confidence on the forget set, (models,).
        retrained: Likewise, (models,).
        level: Of the limits.
    """
    half = min(len(unlearned), len(retrained)) // 2
    if half < FEWEST_MODELS or not np.isfinite([*unlearned, *retrained]).all():
        return epsilon_bound(0, 0, half, level=level) if half < FEWEST_MODELS else _undefined()
    chosen = np.median(unlearned[:half]), np.median(retrained[:half])
    sign = 1 if chosen[0] >= chosen[1] else -1
    middle = sign * np.mean(chosen)
    hits, alarms = (int((sign * x[half : 2 * half] > middle).sum()) for x in (unlearned, retrained))
    return epsilon_bound(hits, alarms, half, level=level)


def _epsilon(true_positives: int, false_positives: int, models: int, level: float) -> float:
    if models == 0:
        return 0.0
    limits = [
        binomtest(count, models).proportion_ci(level, method="exact")
        for count in (true_positives, false_positives)
    ]
    hit, alarm = limits[0].low, limits[1].high
    with np.errstate(divide="ignore"):
        return max(0.0, float(np.max(np.log([hit / alarm, (1 - alarm) / (1 - hit)]))))


def _too_few(models: int) -> str:
    return f"{models} models a side to count, at least {FEWEST_MODELS} needed"


def _undefined() -> Certified:
    return Certified(np.nan, np.nan, "not estimable: a model has blown up")
