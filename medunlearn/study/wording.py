"""What the report says in words: every sentence is generated from the verdicts."""

from collections.abc import Iterable, Sequence

import pandas as pd

from medunlearn.evaluation.controls.resampling import FAILED
from medunlearn.evaluation.controls.run_controls import FIT
from medunlearn.evaluation.yardsticks import NOTHING
from medunlearn.figures.style import label_of
from medunlearn.statistics.verdicts import DIFFERENT, INCONCLUSIVE, NOT_TESTED, none_is_biased
from medunlearn.study import questions
from medunlearn.study.questions import CHANGED, QUESTIONS, SYMBOLS, UNCHANGED, Question


def names_of(methods: Iterable[object]) -> str:
    """For example ``SalUn, SCRUB and SSD``; of no method ``none``."""
    *first, last = [label_of(str(method)) for method in methods] or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def say_fitness(controls: pd.DataFrame) -> str:
    """Why the study is not fit for verdicts; empty if it is.

    Args:
        controls: As from ``run_controls``.
    """
    failed = controls[(controls["control"] == FIT) & (controls["state"] == FAILED)]
    for size in 100 * failed["estimate"]:
        told = f"the original is only {size:.1f} points above retraining on the forget set"
        return f"This study is not fit for verdicts: {told}, and not clearly more than set B."
    return ""


def warn(fitness: pd.DataFrame) -> list[str]:
    """What is to be said first where retrained models have hardly learnt anything.

    Args:
        fitness: As from ``measure_fitness``.
    """
    return [
        f"Caution: retrained models reach {100 * row['estimate']:.1f} % {row['measure']}, "
        f"not clearly more than {row['name']} ({100 * row['baseline']:.1f} %)."
        for row in fitness[~fitness["fit"].astype(bool)].to_dict("records")
    ]


def answer(claim: str, judged: pd.DataFrame, confirmatory: Sequence[str] = ()) -> str:
    """The answer to a claim, one line a question, with what would settle what is open.

    Args:
        claim: C1 to C4, or ``audits``.
        judged: Verdicts and audits.
        confirmatory: Methods named before results: a joint sentence needs all; none if not given.
    """
    lines = []
    for question in QUESTIONS.values() if not questions.is_demonstration(judged) else ():
        rows = question.rows(judged)
        if question.claim == claim and (len(rows) or not question.beside):
            told = [tell(question, rows), say_jointly(rows, confirmatory), say_open(rows)]
            lines.append(f"- **{question.title.capitalize()}.** {' '.join(filter(None, told))}")
    return "\n".join(lines)


def tell(question: Question, rows: pd.DataFrame) -> str:
    """Which methods got which verdict, and for how many of them that supports the claim."""
    if rows.empty:
        return "This was not measured in this study."
    if (rows["verdict"] == NOT_TESTED).all():
        return f"Not tested: {reasons(rows)}."
    told, own, kind = [], rows[rows["confirmatory"].astype(bool)], "confirmatory methods"
    if own.empty:
        own, kind = rows, "methods (exploratory)"
    if question.claim != "audits":
        count = f"{len(question.supporting(own))} of {len(own)} {kind}"
        told.append(f"**The claim is supported for {count}.**")
    readings = rows.get("reading", rows["verdict"])
    for reading in sorted(set(readings), key=[*SYMBOLS, *readings].index):
        some = rows[readings == reading]
        why = f" ({reasons(some)})" if reading == NOT_TESTED else ""
        above = some["estimate"] > 0
        sides = {"": some}
        if reading == DIFFERENT and above.any():
            sides = {", above 0": some[above], ", below 0": some[~above]}
        told += [
            f"*{reading.capitalize()}{side}*: {names_of(those['method'])}{why}."
            for side, those in sides.items()
            if len(those)
        ]
    return " ".join(told)


def reasons(rows: pd.DataFrame) -> str:
    """Why rows were not tested, each reason once."""
    diverged = rows["estimate"].isna().map({True: "a model has diverged", False: ""})
    return "; ".join(dict.fromkeys(rows["refused"].where(rows["refused"] != "", diverged)))


def say_jointly(rows: pd.DataFrame, confirmatory: Sequence[str]) -> str:
    """Whether *no* method is biased: only where it is proven, and of whom it is proven."""
    own = rows[rows["method"].isin(confirmatory)]
    if own.empty or (own["verdict"] == NOT_TESTED).all():
        return ""
    if absent := sorted(set(confirmatory) - set(own["method"])):
        return f"Nothing is said of all methods together, since {names_of(absent)} is missing."
    if none_is_biased(own) and not (own["verdict"] == DIFFERENT).any():
        return "Together, no confirmatory method is biased by more than the margin."
    return "That *no* method is biased is not shown: some equivalence test fails."


def say_open(rows: pd.DataFrame) -> str:
    """What a study of this size could settle, where it has left a question open."""
    left = rows[rows["verdict"] == INCONCLUSIVE]
    if left[["reachable_margin", "margin"]].dropna().empty:
        return ""
    reach, margin = (100 * left[name].max() for name in ("reachable_margin", "margin"))
    if reach <= margin:
        return f"What is inconclusive lies too near the margin of {margin:.1f} points."
    return f"The margin is {margin:.1f} points; a study of this size can settle {reach:.1f}."


def three_lines(judged: pd.DataFrame, fitness: str = "") -> list[str]:
    """The result in three lines of plain text, for the end of a run.

    Args:
        judged: Verdicts and audits.
        fitness: Why the study is not fit for verdicts; empty if it is.
    """
    if fitness:
        return [fitness, "No verdict is given.", "The report shows estimates only."]
    if questions.is_demonstration(judged):
        why = next(filter(None, judged["refused"]), "no model could be measured")
        return [f"A demonstration, too small for verdicts: {why}.", *estimates(judged)]
    return [say(judged, "privacy"), say(judged, "gap", "slope"), say_sexes(judged)]


def estimates(judged: pd.DataFrame) -> list[str]:
    """Two sentences without a verdict: what doing nothing leaves, and what methods change."""
    kept = questions.pick(judged, claim="C1", method=NOTHING, **QUESTIONS["forget"].where)
    sentence = "Before unlearning, the forget set is {:.1f} points above retraining."
    told = [sentence.format(100 * estimate) for estimate in kept["estimate"].dropna()]
    gaps = 100 * QUESTIONS["gap"].rows(judged)["estimate"].dropna()
    if len(gaps):
        low, high = (round(end, 1) + 0.0 for end in (gaps.min(), gaps.max()))  # never -0.0
        told.append(
            f"On the test set, methods are {low:+.1f} to {high:+.1f} points from retraining."
        )
    return told


TALLIES = {
    "privacy": ("Forgotten patients are easier to recognise than after retraining", "harder"),
    "gap": ("Accuracy on the test set is lower than after retraining", "higher"),
    "slope": ("As the forget set grows, accuracy falls further behind retraining", "gains on it"),
    "sexes": ("On the test set women lose more than men", "men lose more"),
    "sexes_forget": ("When forgotten, women lose more than men", "men lose more"),
    "difficulty": ("On the test set hard patients lose more than easy ones", "easy ones lose more"),
}
"""By question: what is worse than after retraining, as a sentence without its end; the reverse."""


def say(judged: pd.DataFrame, *questions: str) -> str:
    """With how many methods something is worse than after retraining, a sentence a question."""
    return " ".join(_tally(name, QUESTIONS[name].rows(judged)) for name in questions)


def say_short(judged: pd.DataFrame) -> str:
    """Privacy, accuracy and sex in one sentence: with how many methods each is worse."""
    told = []
    for name in ("privacy", "gap", "sexes_forget"):
        rows = QUESTIONS[name].rows(judged)
        open_ = int((rows["verdict"] == INCONCLUSIVE).sum())
        worse = str(_are_worse(name, rows).sum() or "none")
        told.append(f"{worse} ({open_} open)" if open_ else worse)
    return (
        f"of {len(QUESTIONS['privacy'].rows(judged))} methods, forgotten patients stay easier to "
        f"recognise with {told[0]}, accuracy falls with {told[1]}, and forgotten women lose more "
        f"than men with {told[2]}"
    )


def say_sexes(judged: pd.DataFrame, *parts: str) -> str:
    """Whether a method treats women and men differently; by default when forgotten, too."""
    if QUESTIONS["sexes"].rows(judged).empty:
        return "Women and men are not compared: the cohort does not tell them apart."
    asked = parts or ("sexes", "sexes_forget")
    return say(judged, *(name for name in asked if len(QUESTIONS[name].rows(judged))))


def say_both(judged: pd.DataFrame) -> str:
    """Which methods are shown to match retraining in privacy and in accuracy."""
    privacy, gap = (
        {str(m) for m in rows.loc[rows["verdict"].isin(UNCHANGED), "method"]}
        for rows in (QUESTIONS[name].rows(judged) for name in ("privacy", "gap"))
    )
    count, both = len(QUESTIONS["gap"].rows(judged)), sorted(privacy & gap)
    told = f"{len(both) or 'None'} of {count} methods {'are' if len(both) > 1 else 'is'} shown"
    named = f": {names_of(both)}" if both else ""
    return f"{told} to match retraining in both privacy and accuracy{named}."


def abstract(
    judged: pd.DataFrame, design: str, cost: str, fitness: str = "", cautions: Sequence[str] = ()
) -> list[str]:
    """The answer to each claim in six sentences, after what is to be said first.

    Of a study without verdicts: what was done, and why there are none.

    Args:
        judged: Verdicts and audits, one below the other.
        design: What was compared, in a sentence.
        cost: The answer to C5, in a sentence.
        fitness: Why the study is not fit for verdicts; empty if it is.
        cautions: What is to be said first (`warn`).
    """
    if fitness or questions.is_demonstration(judged):
        return [design, *cautions, *three_lines(judged, fitness)]
    privacy, gap, difficulty = (say(judged, name) for name in ("privacy", "gap", "difficulty"))
    sexes = say_sexes(judged, "sexes")
    return [*cautions, say_both(judged), privacy, gap, sexes, difficulty, cost]


def _are_worse(question: str, rows: pd.DataFrame) -> pd.Series:
    """Which rows are different, and for the worse: of an attack those above 0."""
    return rows["verdict"].isin(CHANGED) & ((rows["estimate"] > 0) == (question == "privacy"))


def _tally(question: str, rows: pd.DataFrame) -> str:
    """With which methods things are worse, better, shown to be alike, and open: it adds up to all.

    Args:
        question: One of ``TALLIES``; of an attack a positive estimate is the worse one.
        rows: Those of all methods.
    """
    worse, better = TALLIES[question]
    tested = rows[rows["verdict"] != NOT_TESTED]
    if rows.empty:
        return f"{worse}: not measured."
    if tested.empty:
        return f"{worse}: not tested ({reasons(rows)})."
    found, alike = (tested["verdict"].isin(kind) for kind in (CHANGED, UNCHANGED))
    is_worse = _are_worse(question, tested)
    bad, good = tested[is_worse], tested[found & ~is_worse]
    told = f"{worse} with {len(bad) or 'none'} of {len(tested)} methods{_named(bad)}"
    told += f", {better} with {len(good)}{_named(good)}" if len(good) else ""
    margin, open_ = 100 * tested["margin"].max(), len(tested) - int((found | alike).sum())
    told += f"; shown to be alike within {margin:g} points: {alike.sum() or 'none'}"
    told += f"; open: {open_ or 'none'}"
    return told + (f"; not tested: {n}." if (n := len(rows) - len(tested)) else ".")


def _named(rows: pd.DataFrame) -> str:
    return f" ({names_of(rows['method'])})" if len(rows) else ""
