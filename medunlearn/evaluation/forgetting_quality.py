"""Forgetting quality: how well unlearned models can be told from retrained ones, at each sample."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST_LEFT = 2
"""Models of either kind that a mean and a standard deviation need."""

_SMALLEST_SD = 1e-6
"""In nats; models that agree to rounding error have no spread to divide by."""


def leave_pair_out(unlearned: Floats, retrained: Floats, *, same_seeds: bool) -> Floats:
    """Whether the unlearned model of a pair looks more unlearned than the retrained one.

    For each pair (i, j): the distribution of label confidence of either kind is a Gaussian fitted
    to the models outside of the pair; both left-out models are ranked by the log-likelihood ratio
    of the two. This is the per-sample audit of Triantafillou et al. 2024, "Are we making progress
    in unlearning? Findings from the first NeurIPS unlearning competition", with the likelihood
    ratio of Carlini et al. 2022 as the attack. Left-out models are compared within their fold
    only. For unlearned models that are retrained ones the mean is exactly 1/2; if only one model
    is left out at a time, 0.40 with 8 models a side, if none is, 0.66 (simulated).

    Args:
        unlearned: Label confidence in nats, (seeds, samples).
        retrained: Likewise.
        same_seeds: Row k of both comes from seed k. Then i != j, and *both seeds* are left out of
            *both* kinds: models of one seed resemble each other, so u_i, compared with a fit to
            r_i, would look retrained (mean 0.43 at a correlation of 0.5, simulated).

    Returns:
        1, 0 or (tie) 1/2, (seeds, seeds, samples); NaN for pairs that are not used, everywhere if
        fewer than two models of either kind are left.
    """
    wins = np.full((len(unlearned), len(retrained), unlearned.shape[1]), np.nan)
    if min(len(unlearned), len(retrained)) - (2 if same_seeds else 1) < FEWEST_LEFT:
        return wins
    for i, j in np.ndindex(wins.shape[:2]):
        if same_seeds and i == j:
            continue
        ours, theirs = ((i, j), (i, j)) if same_seeds else ((i,), (j,))
        fits = [
            _fit(np.delete(unlearned, ours, axis=0)),
            _fit(np.delete(retrained, theirs, axis=0)),
        ]
        first, second = (_log_ratio(model, *fits) for model in (unlearned[i], retrained[j]))
        wins[i, j] = (first > second) + 0.5 * (first == second)
    # a model that has blown up wins and loses nothing
    wins[:, :, ~np.isfinite(np.vstack([unlearned, retrained])).all(axis=0)] = np.nan
    return wins


def _fit(values: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation over models, (samples,) each."""
    return values.mean(axis=0), np.maximum(values.std(axis=0, ddof=1), _SMALLEST_SD)


def _log_ratio(
    values: Floats, unlearned: tuple[Floats, Floats], retrained: tuple[Floats, Floats]
) -> Floats:
    """Log of the ratio of two normal densities."""
    (mean_u, sd_u), (mean_r, sd_r) = unlearned, retrained
    squares = ((values - mean_r) / sd_r) ** 2 - ((values - mean_u) / sd_u) ** 2
    ratio: Floats = np.log(sd_r / sd_u) + squares / 2
    return ratio
