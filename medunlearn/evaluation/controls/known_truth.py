"""Controls with a known truth: a bias and doses of one, planted into honest models, and none."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from medunlearn.evaluation.controls import resampling
from medunlearn.evaluation.controls.resampling import ALPHA, POWER, Decisions, Outcome, rejections
from medunlearn.evaluation.estimands import covariates, difference_of_sexes
from medunlearn.evaluation.measurements import Measurements
from medunlearn.evaluation.performance import balanced_values
from medunlearn.evaluation.subsets import Flags, Floats, Ints
from medunlearn.evaluation.yardsticks import LineUp
from medunlearn.randomness import stream
from medunlearn.statistics.verdicts import Terms, p_values, refuse

World = tuple[Floats, Floats, Flags]

DOSES = (0, 1, 2)
"""In margins."""


def planted_bias(
    measurements: Measurements, terms: Terms, nothing: LineUp | None, floor: LineUp | None
) -> Outcome:
    """A method that forgets men and does nothing for women must be called biased.

    It answers as set B for men and as the original for women; the contrast is the confirmatory one
    on the forget set, at the size and on the draws that this has. It need only be found where it is
    large enough to be: where the women's gap of doing nothing exceeds (t_{.975} + t_{.8}) standard
    errors of this very contrast.
    """
    asked = "different: set B's answers for men, the original's for women"
    outcome = Outcome("planted bias on the forget set", asked, "C2")
    if nothing is None or floor is None:
        reason = f"not measured: {'do nothing' if nothing is None else 'set B'}"
        return replace(outcome, found=reason)
    remembered, fresh = (
        dict(zip(one.base, measurements.gaps(one, "forget", "all", "accuracy"), strict=True))
        for one in (nothing, floor)
    )
    both = [base for base in nothing.base if base in fresh]
    draws = [base.draw for base in both]
    tables = [covariates(measurements, draw, "forget") for draw in draws]
    counts = [table["sex"].eq(sex).sum() for table in tables for sex in "FM"]
    if reason := refuse(terms, len(both), int(min(counts, default=0)), floor=True):
        return replace(outcome, found=reason)
    women = [table["sex"].eq("F").fillna(False).to_numpy(bool) for table in tables]
    pairs = list(zip(women, both, strict=True))
    values = [np.where(side, remembered[base], fresh[base]) for side, base in pairs]
    found, names = difference_of_sexes(tables, values, draws, level=measurements.level)
    known = float(np.mean([remembered[base][side].mean() for side, base in pairs]))
    if not np.isfinite(found.standard_error):
        return outcome.came_out(None, "the contrast has no spread or model")
    p, _ = p_values(found.estimate, found.standard_error, found.df, terms.margins["forget"])
    quantiles = stats.t.ppf([1 - ALPHA / 2, POWER], found.df)
    detectable = float(quantiles.sum() * found.standard_error)
    passed = bool(p < ALPHA and found.estimate > 0) if known > detectable else None
    told = (
        f"{found.estimate:+.3f} ({found.low:+.3f} to {found.high:+.3f}, adjusted for {names}); "
        f"the women's gap of doing nothing is {known:+.3f}, detectable is {detectable:.3f}"
    )
    limits = {"estimate": found.estimate, "low": found.low, "high": found.high}
    return outcome.came_out(passed, told, **limits, runs=found.seeds)


def planted_dose(
    measurements: Measurements, terms: Terms, floor: LineUp | None, replicates: int
) -> Iterator[Outcome]:
    """Doses of bias on the test set: none, one margin and two, against women.

    Set B's right decisions are turned wrong, so that the class-balanced difference of the sexes is
    the dose: what set B itself differs by is offset, by turning men's decisions where need be. Who
    is harmed is drawn by person, and harmed by all seeds: a bias would not change its victims with
    the seed, and were it to, seeds alone would carry its spread and an error in the unit of
    patients would stay unseen. Each replicate draws persons anew within each sex, so that
    estimates spread about the dose as those of other test sets would, and plants anew. Seeds stay
    as they are: that they count as units is checked by simulated studies, not here.
    """
    margin = terms.margins["test"]
    asked = (
        f"no bias: different in at most {ALPHA:.0%} of replicates, equivalent in {POWER:.0%}",
        f"a bias of the margin, {margin:g}: equivalent in at most {ALPHA:.0%} of replicates",
        f"a bias of twice the margin: different in {POWER:.0%} of replicates",
    )
    outcomes = [
        Outcome("planted dose on test", each, "C2", nominal=POWER if dose == 2 else ALPHA)
        for dose, each in zip(DOSES, asked, strict=True)
    ]
    decisions = resampling.decide(measurements, terms, floor, "set B")
    if not isinstance(decisions, str):
        shares = [_shares(decisions, dose * margin) for dose in DOSES]
        if not (np.array(shares) <= 1).all():
            decisions = "set B is right too seldom to be turned wrong"
    if isinstance(decisions, str):
        yield from (replace(outcome, found=decisions) for outcome in outcomes)
        return
    worlds = (each for number in range(replicates) for each in _plant(decisions, shares, number))
    found = resampling.replicate(worlds).reshape(3, replicates, len(DOSES))
    can_fail = True
    for dose, outcome, (estimate, error, df) in zip(
        DOSES, outcomes, np.moveaxis(found, 2, 0), strict=True
    ):
        differs, limit, runs = rejections(p_values(estimate, error, df, margin)[0])
        equals, _, _ = rejections(p_values(estimate, error, df, margin)[1])
        if dose == 0:  # who calls not even the absence of bias equivalent cannot fail at the margin
            can_fail = equals > limit
        passed = {
            0: False if differs > limit else equals >= POWER or None,
            1: equals <= limit and (can_fail or None),
            2: differs >= POWER or None,
        }[dose]
        allowed = "" if dose == 2 else f" (up to {limit:.1%} is chance)"
        told = f"different in {differs:.1%}, equivalent in {equals:.1%} of {runs}{allowed}"
        centre, rate = float(estimate.mean()), equals if dose == 1 else differs
        yield outcome.came_out(
            *((passed, told) if runs else (None, "no replicate has a spread")),
            estimate=centre,
            rate=rate,
            runs=runs,
        )


def _shares(decisions: Decisions, dose: float) -> tuple[float, float]:
    """Of women's and of men's right decisions to be turned wrong for F - M to be -dose."""
    right, whole, women = decisions.ours, decisions.whole, decisions.women
    change = -dose - resampling.sex_contrast(right - decisions.theirs, whole, women).estimate
    of_women, of_men = (
        float(balanced_values(right[..., side], whole[:, side]).mean()) for side in (women, ~women)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        turned = np.array([max(0.0, -change), max(0.0, change)]) / np.array([of_women, of_men])
    return float(turned[0]), float(turned[1])


def _plant(
    decisions: Decisions, shares: Sequence[tuple[float, float]], number: int
) -> Iterator[World]:
    """A world for each dose, all of the same persons, drawn with replacement."""
    random, women = stream("control", "dose", number), decisions.female_persons
    drawn = [random.choice(np.flatnonzero(side), side.sum()) for side in (women, ~women)]
    homes = [decisions.persons[person] for person in np.concatenate(drawn)]
    luck = np.repeat(random.random(len(homes)), [len(patients) for patients in homes])
    rows = np.concatenate(homes)  # who is drawn twice is two patients
    ours, theirs, whole = (
        x[..., rows] for x in (decisions.ours, decisions.theirs, decisions.whole)
    )
    for of_women, of_men in shares:
        left = luck >= np.where(decisions.women[rows], of_women, of_men)
        yield ours * left - theirs, whole, decisions.women[rows]


def permuted_sex(
    measurements: Measurements, terms: Terms, nothing: LineUp | None, permutations: int
) -> Iterator[Outcome]:
    """Sexes dealt out at random must not differ more often than the test's level allows.

    The contrast is that of class-balanced accuracy of doing nothing on the test set. Sexes are
    dealt freely, and within label x difficulty. The latter keeps what sex and difficulty have to
    do with each other, which may make a true difference: there the mean over permutations, which
    is due to that alone, is taken off first.

    This checks that persons are the units; seeds are checked by simulated studies. A gap may vary
    between persons by luck alone, a new one with each seed: then the spread over seeds holds all
    of it, and hides an error in the unit (simulated: gaps pass with every patient in it four
    times). Levels vary between persons in all seeds alike, so sexes are dealt for levels, too.
    """
    named = "label x difficulty" if len(measurements.difficulty) else "label"
    decisions = resampling.decide(measurements, terms, nothing, "do nothing")
    for what, how in (("gap", "freely"), ("gap", f"within {named}"), ("level", "freely")):
        asked = f"different in at most {ALPHA:.0%} of permutations"
        outcome = Outcome(f"sex permuted, {how}: {what}", asked, "C2", nominal=ALPHA)
        if isinstance(decisions, str):
            yield replace(outcome, found=decisions)
            continue
        values, known = decisions.ours - decisions.theirs * (what == "gap"), measurements.people
        people = known.loc[decisions.patient_ids]
        cells = people["label"].astype(str) + " " + people["difficulty"].fillna("")
        codes = pd.factorize(cells, sort=True)[0] * (how != "freely")
        dealt = _deal(decisions, codes, permutations, stream("control", what, how))
        estimate, error, df = resampling.replicate(
            (values, decisions.whole, women) for women in dealt
        )
        centre = float(estimate.mean())
        taken_off = 0.0 if how == "freely" else centre
        rate, limit, runs = rejections(p_values(estimate - taken_off, error, df, np.nan)[0])
        if not runs or np.ptp(estimate) < 1e-12:
            yield outcome.came_out(None, "permutations make no difference")
            continue
        note = "; difficulty was not measured" if how == "within label" else ""
        told = f"different in {rate:.1%} of {runs} (up to {limit:.1%} is chance){note}"
        yield outcome.came_out(rate <= limit, told, estimate=centre, rate=rate, runs=runs)


def _deal(
    decisions: Decisions, cells: Ints, times: int, random: np.random.Generator
) -> Iterator[Flags]:
    """Sexes permuted among the persons of each cell, as (patients,)."""
    women, cells = decisions.female_persons, cells[[each[0] for each in decisions.persons]]
    home = np.argsort(cells, kind="stable")
    for _ in range(times):
        dealt = np.empty_like(women)
        dealt[home] = women[np.lexsort((random.random(len(cells)), cells))]
        yield dealt[decisions.sources]
