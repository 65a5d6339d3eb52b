"""Which models are compared with which: every method beside the retrained models it is held to."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from medunlearn.methods import get_method

NOTHING, RETRAINED, FLOOR = "original", "retrain", "floor"
"""Do nothing, oracle set A and oracle set B stand among the methods under these names."""


@dataclass(frozen=True)
class Run:
    """One model of a line-up: its seed, its row in the models table, the draw it forgot."""

    seed: int
    row: int
    draw: str


@dataclass(frozen=True)
class LineUp:
    """A method on one forget set.

    Args:
        composition: Of the forget set.
        forget_size: Share of the training patients.
        method: An unlearning method, or one of ``NOTHING``, ``RETRAINED``, ``FLOOR``.
        runs: Its models, by seed.
        base: Beside each, the retrained model it is held to.
    """

    composition: str
    forget_size: float
    method: str
    runs: list[Run]
    base: list[Run]


def line_ups(models: pd.DataFrame) -> Iterator[LineUp]:
    """Every forget set and method.

    Only seeds that have both the model and its retrained one are used; a method with none has no
    line-up.

    Args:
        models: One row for each model (see ``study.tables``).
    """
    retrained = models[models["role"] == "retrained"]
    originals = models[models["role"] == "original"]
    ours = retrained[retrained["oracle_set"] == "A"]
    design = ours[["composition", "forget_size"]].drop_duplicates()
    for composition, size in design.itertuples(index=False, name=None):
        here = models[(models["composition"] == composition) & (models["forget_size"] == size)]
        base = by_seed(here[here["oracle_set"] == "A"])
        methods = {RETRAINED: base, NOTHING: by_seed(originals)}
        unlearned = here[here["role"] == "unlearned"]
        for method in unlearned["method"].unique():
            methods[method] = by_seed(unlearned[unlearned["method"] == method])
        for method, known in methods.items():
            seeds = sorted(base.keys() & known.keys())
            # an original has no draw of its own: it is held to the cell's
            runs = [Run(seed, known[seed].row, base[seed].draw) for seed in seeds]
            if runs:
                paired = [base[seed] for seed in seeds]
                yield LineUp(composition, size, method, runs, paired)
        fresh = list(by_seed(here[here["oracle_set"] == "B"]).values())
        # any pairing will do: fresh seeds share nothing with the others
        pairs = list(zip(fresh, base.values(), strict=False))
        if pairs:
            runs, paired = [run for run, _ in pairs], [run for _, run in pairs]
            yield LineUp(composition, size, FLOOR, runs, paired)


def has_gap(method: str) -> bool:
    """Not the yardstick, nor an ensemble: its gap to its *own* retraining is 0 by construction."""
    own = method not in {RETRAINED, NOTHING, FLOOR} and get_method(method).own_training
    return method != RETRAINED and not own


def by_seed(models: pd.DataFrame) -> dict[int, Run]:
    """Models by seed, ascending."""
    seeds, draws = models["seed"].astype(int), models["draw"].astype(str)
    rows = zip(seeds, models.index, draws, strict=True)
    return {seed: Run(seed, int(row), draw) for seed, row, draw in sorted(rows)}
