"""Which models are held to which: every method to retrained models, and to set B."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from medunlearn.methods import get_method

NOTHING, RETRAINED, FLOOR = "original", "retrain", "floor"
"""Do nothing, oracle set A and oracle set B stand among the methods under these names."""

Rows = tuple[int, ...]


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
    """Every forget set and method, of the seeds that have both the model and its retrained one.

    Args:
        models: One row for each model (see ``study.tables``).
    """
    originals = _by_seed(models[models["role"] == "original"])
    cells = models.loc[models["oracle_set"] == "A", ["composition", "forget_size"]]
    for composition, size in cells.drop_duplicates().itertuples(index=False, name=None):
        here = models[(models["composition"] == composition) & (models["forget_size"] == size)]
        base, fresh = (_by_seed(here[here["oracle_set"] == name]) for name in "AB")
        known = {RETRAINED: base, NOTHING: originals}
        for method in here.loc[here["role"] == "unlearned", "method"].unique():
            known[method] = _by_seed(here[here["method"] == method])
        for method, runs in known.items():
            if seeds := [seed for seed in base if seed in runs]:
                # an original has no draw of its own: it is held to the cell's
                ours = [Run(seed, runs[seed].row, base[seed].draw) for seed in seeds]
                yield LineUp(composition, size, method, ours, [base[seed] for seed in seeds])
        if pairs := _pair(fresh.values(), base.values()):
            fresh_runs, partners = (list(side) for side in zip(*pairs, strict=True))
            yield LineUp(composition, size, FLOOR, fresh_runs, partners)


def _pair(fresh: Iterable[Run], base: Iterable[Run]) -> list[tuple[Run, Run]]:
    """Fresh seeds beside retrained models of the same draw.

    Where a draw is shared any pairing will do: fresh seeds share nothing with the others.
    """
    by_draw: dict[str, list[Run]] = {}
    for run in base:
        by_draw.setdefault(run.draw, []).append(run)
    partners = {draw: iter(runs) for draw, runs in by_draw.items()}
    found = ((run, next(partners.get(run.draw, iter(())), None)) for run in fresh)
    return [(run, partner) for run, partner in found if partner]


def _by_seed(models: pd.DataFrame) -> dict[int, Run]:
    """Models by seed, ascending."""
    rows = zip(models["seed"], models.index, models["draw"], strict=True)
    runs = [Run(int(seed), int(row), str(draw)) for seed, row, draw in rows]
    return {run.seed: run for run in sorted(runs, key=lambda run: run.seed)}


def middle_line_ups(
    models: pd.DataFrame, forget_size: float, composition: str = "random"
) -> dict[str, LineUp]:
    """By method, on the forget sets of this size and composition."""
    cell = (composition, forget_size)
    return {
        one.method: one for one in line_ups(models) if (one.composition, one.forget_size) == cell
    }


def has_gap(method: str) -> bool:
    """Not the yardstick, nor an ensemble: its gap to its *own* retraining is 0 by construction."""
    own = method not in {RETRAINED, NOTHING, FLOOR} and get_method(method).own_training
    return method != RETRAINED and not own


@dataclass(frozen=True)
class Comparison:
    """A method, model by model beside those it is compared with.

    Args:
        method: Its name.
        against: ``retrained`` (oracle set A, the same seed) or ``floor`` (oracle set B).
        seeds: Of the retrained models; those of the method, but for set B.
        rows: Models of the method.
        others: What each is compared with.
        base: Retrained models of ``seeds``, which agreement is with.
    """

    method: str
    against: str
    seeds: tuple[int, ...]
    rows: Rows
    others: Rows
    base: Rows


def compare(cell: Mapping[str, LineUp]) -> Iterator[Comparison]:
    """Every method against retrained models, and against set B where there is one.

    Set B stands in pairs with set A (see ``line_ups``): a method's seed is compared with the
    partner of its retrained model. Fresh seeds share nothing with anything, so any pairing would
    do. Where set B has fewer seeds only their partners are compared with it: also leave-pair-out,
    whose level depends on how many models it fits, then has equally many of either kind.

    Args:
        cell: The line-ups of one forget set, by method.
    """
    pairs = {name: list(zip(one.runs, one.base, strict=True)) for name, one in cell.items()}
    partner = {base.seed: run.row for run, base in pairs.get(FLOOR, [])}
    for method in filter(has_gap, pairs):
        known = [(base.seed, run.row, base.row, base.row) for run, base in pairs[method]]
        yield Comparison(method, "retrained", *zip(*known, strict=True))
        floor = [(s, row, partner[s], base) for s, row, _, base in known if s in partner]
        if floor and method != FLOOR:
            yield Comparison(method, "floor", *zip(*floor, strict=True))
