"""What an attack can certify, and when there are too few models to say."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Floats = NDArray[np.float64]

FEWEST_MODELS = 64
FEWEST_FALSE_POSITIVES = 10


def too_few(weights: Floats, rate: float, models: int) -> str:
    """Why no true positive rate at this false positive rate is estimable; empty if one is.

    Args:
        weights: Of the non-members, summing to 1.
        rate: False positive rate, 0 to 1.
        models: How many models the rate is averaged over.
    """
    # weighted non-members count as many as equally weighted ones of the same variance (Kish)
    negatives = 1 / float((weights**2).sum())
    reasons = []
    # weights sum to 1 but for rounding
    if rate * negatives < FEWEST_FALSE_POSITIVES - 1e-6:
        allowed = f"{rate:g} x {negatives:.0f} non-members allow {rate * negatives:.1f}"
        reasons.append(f"{allowed} false positives, at least {FEWEST_FALSE_POSITIVES} needed")
    if models < FEWEST_MODELS:
        reasons.append(_too_few_models(models))
    return "; ".join(reasons)


def true_positive_rate_at(
    rate: float, member_scores: Floats, other_scores: Floats, weights: Floats
) -> float:
    """Share of members above the threshold that at most ``rate`` of the non-members exceed.

    Args:
        rate: False positive rate, 0 to 1.
        member_scores: (members,).
        other_scores: (others,).
        weights: Of the non-members, summing to 1, (others,).
    """
    order = np.argsort(other_scores, kind="stable")[::-1]
    reached = np.cumsum(weights[order])
    threshold = other_scores[order][np.searchsorted(reached, rate + 1e-12, side="right")]
    return float((member_scores > threshold).mean())


def epsilon_bound(
    true_positives: int, false_positives: int, models: int, *, level: float = 0.95
) -> float:
    """Lower confidence bound of epsilon between two distributions of models.

    max(log TPR_low / FPR_high, log TNR_low / FNR_high, 0) with exact (Clopper-Pearson) limits of
    TPR and FPR: the hypothesis-testing view of differential privacy (Kairouz, Oh & Viswanath 2015,
    delta = 0), as an audit Jagielski, Ullman & Oprea 2020, "Auditing Differentially Private
    Machine Learning". With n models a side even a faultless attack certifies no more than the
    bound of n and 0.

    Args:
        true_positives: Unlearned models that the attack calls unlearned.
        false_positives: Retrained models that it calls unlearned.
        models: Of either kind.
        level: Of the two-sided limits of each rate.
    """
    if models == 0:
        return 0.0
    hits, alarms = (
        binomtest(count, models).proportion_ci(level, method="exact")
        for count in (true_positives, false_positives)
    )
    with np.errstate(divide="ignore"):
        ratios = np.log([hits.low / alarms.high, (1 - alarms.high) / (1 - hits.low)])
    return max(0.0, float(ratios.max()))


def distinguish_models(
    unlearned: Floats, retrained: Floats, *, level: float = 0.95
) -> tuple[float, str]:
    """Epsilon between unlearned and retrained models, distinguished by one number of each.

    The threshold and its direction are set on the first half of the models and counted on the
    second: counts that helped to choose it would certify too much.

    Args:
        unlearned: For example mean confidence on the forget set, (models,).
        retrained: Likewise, (models,).
        level: Of the limits.

    Returns:
        The bound, NaN if it is not estimable, and a note that says why, or what was possible.
    """
    half = min(len(unlearned), len(retrained)) // 2
    cap = epsilon_bound(half, 0, half, level=level)
    if half < FEWEST_MODELS:
        return np.nan, f"{_too_few_models(half)}; cap {cap:.2f}"
    if not np.isfinite([*unlearned, *retrained]).all():
        return np.nan, "a model has blown up"
    chosen = np.median(unlearned[:half]), np.median(retrained[:half])
    sign = 1 if chosen[0] >= chosen[1] else -1
    middle = sign * np.mean(chosen)
    hits, alarms = (int((sign * x[half : 2 * half] > middle).sum()) for x in (unlearned, retrained))
    bound = epsilon_bound(hits, alarms, half, level=level)
    return bound, f"at most {cap:.2f} can be certified"


def _too_few_models(models: int) -> str:
    return f"{models} models a side to count, at least {FEWEST_MODELS} needed"
