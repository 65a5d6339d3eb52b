"""Pairs of models from *different* seeds: do they answer alike, and can they be told apart?

Agreement with retraining is that of pairs (unlearned s, retrained t) with s != t, and is read as
the excess over pairs of two retrained models: what retraining again would disagree anyway. Two
models of one seed share their start, so they agree for reasons that have nothing to do with
forgetting: pairs of one seed are never used. Every model is in many pairs, so pairs are no
replicates; seeds are, and are left out one at a time, in both roles: Arvesen 1969, "Jackknifing
U-statistics".
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import rel_entr

from medunlearn.evaluation.performance import pseudo_values
from medunlearn.evaluation.subsets import Floats
from medunlearn.statistics.intervals import Interval, contrast_interval, no_limits

FEWEST_SEEDS = 3
"""Two seeds make one pair of either order: nothing is left when one of them is left out."""

FEWEST_DISTINGUISHED = 5
"""Seeds for an interval: two are left out with the pair, one by the jackknife, and a mean and a
standard deviation need two models of either kind."""

_SMALLEST_SD = 1e-6
"""In nats; models that agree to rounding error have no spread to divide by."""


def jensen_shannon(first: Floats, second: Floats) -> Floats:
    """Jensen-Shannon divergence, (KL(p | m) + KL(q | m)) / 2 with m = (p + q) / 2, in nats.

    0 for equal distributions, log 2 for disjoint ones: Lin 1991, "Divergence Measures Based on the
    Shannon Entropy".

    Args:
        first: Probabilities, (..., classes).
        second: Likewise.

    Returns:
        (...).
    """
    middle = (first + second) / 2
    return np.asarray((rel_entr(first, middle) + rel_entr(second, middle)).sum(axis=-1) / 2)


def pair_divergence(ours: Floats, theirs: Floats) -> Floats:
    """Jensen-Shannon divergence of each pair of different seeds.

    Args:
        ours: Probabilities, (seeds, samples, classes).
        theirs: Likewise; row k of both has seed k, or neither shares anything.

    Returns:
        (seeds, seeds, samples); pairs of one seed, on the diagonal, are never read.
    """
    return np.stack([jensen_shannon(one, theirs) for one in ours])


def pair_decisions(ours: Floats, theirs: Floats) -> Floats:
    """Whether both models of a pair take the same class for the most probable.

    Args:
        ours: Probabilities, (seeds, samples, classes).
        theirs: Likewise.

    Returns:
        (seeds, seeds, samples), NaN where a model has blown up.
    """
    equal = np.equal(ours.argmax(axis=2)[:, None], theirs.argmax(axis=2)[None])
    # sums over classes are 1, or NaN for a model that has blown up
    defined = ours.sum(axis=2)[:, None] * theirs.sum(axis=2)[None]
    return np.where(np.isnan(defined), np.nan, equal)


@dataclass(frozen=True)
class PairMean:
    """A mean over pairs of seeds, at every sample or patient.

    Args:
        mean: (units,).
        by_seed: Jackknife pseudo-values, whose mean over seeds is ``mean``, (seeds, units); NaN
            with too few seeds.
    """

    mean: Floats
    by_seed: Floats


def pair_mean(pairs: Floats) -> Floats:
    """Mean over all pairs of different seeds, (units,); NaN if there is none.

    Args:
        pairs: (seeds, seeds, units), the diagonal is ignored.
    """
    seeds = len(pairs)
    if seeds < 2:
        return np.full(pairs.shape[2:], np.nan)
    return np.asarray(pairs[~np.eye(seeds, dtype=bool)].mean(axis=0))


def average_pairs(pairs: Floats) -> PairMean:
    """Mean over pairs of a quantity that depends on the two models of a pair only.

    With m the mean, r_s and c_s those over the pairs with s on the left and on the right, and n
    seeds, m_without_s = (n m - r_s - c_s) / (n - 2).

    Args:
        pairs: (seeds, seeds, units), the diagonal is ignored.
    """
    seeds, mean = len(pairs), pair_mean(pairs)
    if seeds < FEWEST_SEEDS:
        return PairMean(mean, np.full((seeds, len(mean)), np.nan))
    others = ~np.eye(seeds, dtype=bool)[..., None]
    clean = np.where(others, pairs, 0)
    sides = (clean.sum(axis=1) + clean.sum(axis=0)) / (seeds - 1)
    return PairMean(mean, pseudo_values(mean, ((seeds * mean - sides) / (seeds - 2)).T).T)


def excess_interval(ours: PairMean, theirs: PairMean, *, level: float = 0.95) -> Interval:
    """Interval of the difference of two means over pairs and patients.

    Args:
        ours: Of patients, by seed.
        theirs: Likewise, the same patients and seeds.
        level: Of the interval.
    """
    values = ours.by_seed - theirs.by_seed
    estimate = float((ours.mean - theirs.mean).mean())
    if np.isfinite(estimate) and not np.isfinite(values).all():
        return no_limits(estimate, *values.shape)
    return contrast_interval([values], (1,), level=level)


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
        1, 0 or (tie) 1/2, (seeds, seeds, samples), of which pairs of one seed are never read; NaN
        if fewer than two models of either kind are left, and where a model has no finite value.
    """
    seeds, samples = unlearned.shape
    if seeds < FEWEST_DISTINGUISHED - 1:
        return np.full((seeds, seeds, samples), np.nan)
    centre = np.vstack([unlearned, retrained]).mean(axis=0)
    u, r = unlearned - centre, retrained - centre
    fits = _fit(u), _fit(r)
    first, second = _log_ratio(u[:, None], *fits), _log_ratio(r[None], *fits)
    wins: Floats = (first > second) + 0.5 * (first == second)
    wins[np.isnan(first) | np.isnan(second)] = np.nan
    return wins


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
    return np.asarray(((values - mean_r) / sd_r) ** 2 - ((values - mean_u) / sd_u) ** 2)
