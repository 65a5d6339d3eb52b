"""Forgetting quality: how well unlearned models can be told from retrained ones, at each sample."""

import numpy as np
from numpy.typing import NDArray

from medunlearn.evaluation.audits.seed_pairs import PairMean, pair_mean, pseudo_values

Floats = NDArray[np.float64]

FEWEST_LEFT = 2
"""Models of either kind that a mean and a standard deviation need."""

FEWEST_SEEDS = FEWEST_LEFT + 3
"""For an interval: two are left out with the pair, and one by the jackknife."""

_SMALLEST_SD = 1e-6
"""In nats; models that agree to rounding error have no spread to divide by."""


def leave_pair_out(unlearned: Floats, retrained: Floats, *, same_seeds: bool) -> Floats:
    """Whether the unlearned model of a pair looks more unlearned than the retrained one.

    For each pair (i, j): the distribution of label confidence of either kind is a Gaussian fitted
    to the models outside of the pair; both left-out models are ranked by the log-likelihood ratio
    of the two. The question is that of Triantafillou et al. 2024, "Are we making progress in
    unlearning? Findings from the first NeurIPS unlearning competition", the Gaussians are those of
    Carlini et al. 2022, "Membership Inference Attacks From First Principles"; the folds are ours.
    Left-out models are compared within their fold only. For unlearned models that are retrained
    ones the mean is 1/2; with 8 models a side it is 0.40 if one model at a time is left out, and
    0.66 if none is (simulated).

    Args:
        unlearned: Label confidence in nats, (seeds, samples).
        retrained: Likewise.
        same_seeds: Row k of both comes from seed k. Then i != j, and *both seeds* are left out of
            *both* kinds: models of one seed resemble each other, so u_i, compared with a fit to
            r_i, would look retrained (mean 0.43 at a correlation of 0.5, simulated).

    Returns:
        1, 0 or (tie) 1/2, (seeds, seeds, samples); NaN for pairs that are not used, everywhere if
        fewer than two models of either kind are left, and where a model has no finite value.
    """
    ours, theirs = len(unlearned), len(retrained)
    left_out = 2 if same_seeds else 1
    if min(ours, theirs) - left_out < FEWEST_LEFT:
        return np.full((ours, theirs, unlearned.shape[1]), np.nan)
    centre = np.vstack([unlearned, retrained]).mean(axis=0)
    u, r = unlearned - centre, retrained - centre
    if same_seeds:
        fits = [_fit(x, x[:, None] + x[None], (x**2)[:, None] + (x**2)[None], 2) for x in (u, r)]
    else:
        fits = [_fit(u, u[:, None], u[:, None] ** 2, 1), _fit(r, r[None], r[None] ** 2, 1)]
    first, second = _log_ratio(u[:, None], *fits), _log_ratio(r[None], *fits)
    wins: Floats = (first > second) + 0.5 * (first == second)
    wins[np.isnan(first) | np.isnan(second)] = np.nan
    if same_seeds:
        wins[np.arange(ours), np.arange(ours)] = np.nan
    return wins


def told_apart(unlearned: Floats, retrained: Floats) -> PairMean:
    """Chance that a pair of *different* seeds is told apart, from seeds outside of the pair.

    Seeds enter as pairs and by the fits: the jackknife over seeds does all of it again without
    one. (Simulated, 8 seeds, 60 patients: intervals of the mean cover it in 97-100 % if nothing is
    to be told, in 91-96 % otherwise; with the fits held in 84-96 %.)

    Args:
        unlearned: Label confidence in nats, (seeds, samples), row k from seed k.
        retrained: Likewise.
    """

    def mean_without(seed: int | None) -> Floats:
        kept = np.arange(len(unlearned)) != seed
        return pair_mean(leave_pair_out(unlearned[kept], retrained[kept], same_seeds=True))

    everyone = mean_without(None)
    without = np.stack([mean_without(seed) for seed in range(len(unlearned))])
    return PairMean(everyone, pseudo_values(everyone, without))


def _fit(values: Floats, sums: Floats, squares: Floats, left_out: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of all models but those whose sum and sum of squares is given."""
    count = len(values) - left_out
    mean = (values.sum(axis=0) - sums) / count
    variance = ((values**2).sum(axis=0) - squares - count * mean**2) / (count - 1)
    return mean, np.sqrt(np.maximum(variance, _SMALLEST_SD**2))


def _log_ratio(
    values: Floats, unlearned: tuple[Floats, Floats], retrained: tuple[Floats, Floats]
) -> Floats:
    """Twice the log of the ratio of two normal densities, less a constant of the fold."""
    (mean_u, sd_u), (mean_r, sd_r) = unlearned, retrained
    # log(sd_r / sd_u) is the same for both models of a pair: it ranks nothing
    ratio: Floats = ((values - mean_r) / sd_r) ** 2 - ((values - mean_u) / sd_u) ** 2
    return ratio
