"""Agreement with retraining: do unlearned models answer as retrained models of other seeds do?

Everything is of pairs (unlearned s, retrained t) with s != t, and is read as the excess over
pairs of two retrained models: what retraining again would disagree anyway.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from medunlearn.evaluation.audits.seed_pairs import without_same_seed

Floats = NDArray[np.float64]


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
    divergence: Floats = (rel_entr(first, middle) + rel_entr(second, middle)).sum(axis=-1) / 2
    return divergence


def pair_divergence(ours: Floats, theirs: Floats) -> Floats:
    """Divergence of each pair of different seeds.

    Args:
        ours: Probabilities, (seeds, samples, classes).
        theirs: Likewise; row k of both has seed k, or neither shares anything.

    Returns:
        (seeds, seeds, samples), NaN on the diagonal.
    """
    return without_same_seed(np.stack([jensen_shannon(one, theirs) for one in ours]))


def pair_decisions(ours: Floats, theirs: Floats) -> Floats:
    """Whether both models of a pair take the same class for the most probable.

    Args:
        ours: Probabilities, (seeds, samples, classes).
        theirs: Likewise.

    Returns:
        (seeds, seeds, samples), NaN on the diagonal and where a model has blown up.
    """
    equal = np.equal(ours.argmax(axis=2)[:, None], theirs.argmax(axis=2)[None])
    # sums over classes are 1, or NaN for a model that has blown up
    defined = ours.sum(axis=2)[:, None] * theirs.sum(axis=2)[None]
    return without_same_seed(np.where(np.isnan(defined), np.nan, equal))


def tug_of_war(ours: Floats, theirs: Floats) -> Floats:
    """Product over partitions of 1 - |difference of accuracies|, for each pair of seeds.

    Zhao et al. 2024, "What makes unlearning hard and what to do about it" (their ToW, with retain,
    forget and test accuracy).

    Args:
        ours: Accuracies, (seeds, partitions).
        theirs: Likewise.

    Returns:
        (seeds, seeds, 1), NaN on the diagonal.
    """
    differences = np.abs(ours[:, None] - theirs[None])
    return without_same_seed((1 - differences).prod(axis=2, keepdims=True))
