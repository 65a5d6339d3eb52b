"""Forgetting quality: how well unlearned models can be told from retrained ones, at each sample."""

import numpy as np
from numpy.typing import NDArray

from medunlearn.evaluation.audits.agreement import PairMean, pair_mean, without_same_seed
from medunlearn.evaluation.performance import pseudo_values

Floats = NDArray[np.float64]

FEWEST_LEFT = 2
"""Models of either kind that a mean and a standard deviation need."""

FEWEST_SEEDS = FEWEST_LEFT + 3
"""For an interval: two are left out with the pair, and one by the jackknife."""

_SMALLEST_SD = 1e-6
"""In nats; models that agree to rounding error have no spread to divide by."""


def leave_pair_out(unlearned: Floats, retrained: Floats) -> Floats:
    """Whether the unlearned model of a pair looks more unlearned than the retrained one.

    For each pair (i, j) of different seeds: the distribution of label confidence of either kind is
    a Gaussian fitted to the models outside of the pair; both left-out models are ranked by the
    log-likelihood ratio of the two. The question is that of Triantafillou et al. 2024, "Are we
    making progress in unlearning? Findings from the first NeurIPS unlearning competition", the
    Gaussians are those of Carlini et al. 2022, "Membership Inference Attacks From First
    Principles"; the folds are ours. *Both seeds* are left out of *both* kinds: models of one seed
    resemble each other, so u_i, compared with a fit to r_i, would look retrained (mean 0.43 at a
    correlation of 0.5, simulated). Left-out models are compared within their fold only. For
    unlearned models that are retrained ones the mean is 1/2; with 8 models a side it is 0.40 if
    one model at a time is left out, and 0.66 if none is (simulated).

    Args:
        unlearned: Label confidence in nats, (seeds, samples), row k from seed k.
        retrained: Likewise.

    Returns:
        1, 0 or (tie) 1/2, (seeds, seeds, samples); NaN for pairs of one seed, everywhere if fewer
        than two models of either kind are left, and where a model has no finite value.
    """
    seeds, samples = unlearned.shape
    if seeds - 2 < FEWEST_LEFT:
        return np.full((seeds, seeds, samples), np.nan)
    centre = np.vstack([unlearned, retrained]).mean(axis=0)
    u, r = unlearned - centre, retrained - centre
    fits = _fit(u), _fit(r)
    first, second = _log_ratio(u[:, None], *fits), _log_ratio(r[None], *fits)
    wins: Floats = (first > second) + 0.5 * (first == second)
    wins[np.isnan(first) | np.isnan(second)] = np.nan
    return without_same_seed(wins)


def distinguish_seeds(unlearned: Floats, retrained: Floats) -> PairMean:
    """Chance that a pair of *different* seeds is distinguished, from seeds outside of the pair.

    Seeds enter as pairs and by the fits: the jackknife over seeds does all of it again without
    one. (Simulated, 8 seeds, 60 patients: intervals of the mean cover it in 97-100 % if nothing
    distinguishes them, in 91-96 % otherwise; with the fits held in 84-96 %.)

    Args:
        unlearned: Label confidence in nats, (seeds, samples), row k from seed k.
        retrained: Likewise.
    """

    def mean_without(seed: int | None) -> Floats:
        kept = np.arange(len(unlearned)) != seed
        return pair_mean(leave_pair_out(unlearned[kept], retrained[kept]))

    everyone = mean_without(None)
    without = np.stack([mean_without(seed) for seed in range(len(unlearned))])
    return PairMean(everyone, pseudo_values(everyone, without.T).T)


def _fit(values: Floats) -> tuple[Floats, Floats]:
    """Mean and SD of the models outside of each pair of seeds, (seeds, seeds, samples)."""
    count, squares = len(values) - 2, values**2
    mean = (values.sum(axis=0) - (values[:, None] + values[None])) / count
    left = squares.sum(axis=0) - (squares[:, None] + squares[None])
    variance = (left - count * mean**2) / (count - 1)
    return mean, np.sqrt(np.maximum(variance, _SMALLEST_SD**2))


def _log_ratio(
    values: Floats, unlearned: tuple[Floats, Floats], retrained: tuple[Floats, Floats]
) -> Floats:
    """Twice the log of the ratio of two normal densities, less a constant of the fold."""
    (mean_u, sd_u), (mean_r, sd_r) = unlearned, retrained
    # log(sd_r / sd_u) is the same for both models of a pair: it ranks nothing
    ratio: Floats = ((values - mean_r) / sd_r) ** 2 - ((values - mean_u) / sd_u) ** 2
    return ratio
