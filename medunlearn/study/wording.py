"""What the report says in words: every sentence is generated from the verdicts."""

from collections.abc import Iterable, Sequence

import pandas as pd

from medunlearn.evaluation.controls.resampling import FAILED
from medunlearn.evaluation.controls.run_controls import FIT, LEAST_GAP
from medunlearn.evaluation.costs import disturbed
from medunlearn.evaluation.yardsticks import FLOOR, NOTHING
from medunlearn.figures.style import label_of
from medunlearn.sources import canonical_hash
from medunlearn.statistics.verdicts import DIFFERENT, INCONCLUSIVE, NOT_TESTED, none_is_biased
from medunlearn.study.questions import QUESTIONS, Question, is_demonstration, methods_of, pick
from medunlearn.study.study import Study


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
        told = f"the original is {size:.1f} points above retraining on the forget set; it must be"
        least = f"{100 * LEAST_GAP:g} or more"
        return f"This study is not fit for verdicts: {told} {least}, and clearly above set B."
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
    for question in QUESTIONS.values() if not is_demonstration(judged) else ():
        rows = question.rows(judged)
        if question.claim == claim and (len(rows) or not question.beside):
            count = f": {question.count(rows)}" if question.support else ""
            told = [f"**{question.title.capitalize()}{count}.**"]
            told += [tell(question, rows), say_nothing(question, judged)]
            told += [say_jointly(rows, confirmatory), say_open(rows)]
            lines.append(f"- {' '.join(filter(None, told))}")
    return "\n".join(lines)


def tell(question: Question, rows: pd.DataFrame) -> str:
    """With which methods things are worse, better, shown to be alike, and open: it adds up."""
    found, better = question.tally(rows), question.ways[question.claim != "audits"]
    bad, good, silent = found["worse"], found["better"], found[NOT_TESTED]
    if len(silent) == len(rows):
        why = f"not tested ({reasons(rows)})" if len(rows) else "not measured"
        return f"{question.sentence}: {why}."
    told = f"{question.sentence} with {len(bad) or 'none'} of {len(rows) - len(silent)} methods"
    told += f" ({names_of(bad['method'])})" if len(bad) else ""
    told += f", {better} with {len(good)} ({names_of(good['method'])})" if len(good) else ""
    told += f"; shown to be alike within {100 * rows['margin'].max():g} points: "
    told += f"{len(found['alike']) or 'none'}; open: {len(found['open']) or 'none'}"
    untested = f"; not tested: {names_of(silent['method'])} ({reasons(silent)})"
    return told + (f"{untested}." if len(silent) else ".")


def say_nothing(question: Question, judged: pd.DataFrame) -> str:
    """What doing nothing comes to, in points: what methods inherit, and whether an attack sees."""
    rows = pick(judged, claim=question.claim, method=NOTHING, **question.where)
    for x in rows["estimate"].dropna()[:1]:
        blind = question.claim == "audits" and question.tally(rows)["worse"].empty
        told = ", which this attack is not shown to see" if blind else ""
        return f"Doing nothing: {100 * x:+.1f}{told}."
    return ""


def reasons(rows: pd.DataFrame) -> str:
    """Why rows were not tested, each reason once."""
    diverged = rows["estimate"].isna().map({True: "not estimable", False: ""})
    return "; ".join(dict.fromkeys(rows["refused"].where(rows["refused"] != "", diverged)))


def say_jointly(rows: pd.DataFrame, confirmatory: Sequence[str]) -> str:
    """Whether *no* method is biased: only where it is proven, and of whom it is proven."""
    own = rows[rows["method"].isin(confirmatory)]
    if own.empty or (own["verdict"] == NOT_TESTED).all():
        return ""
    alike = none_is_biased(own) and not (own["verdict"] == DIFFERENT).any()
    if alike and len(own) == len(confirmatory):
        return "Together, no confirmatory method is biased by more than the margin."
    return "That *no* method is biased is not shown."


def say_open(rows: pd.DataFrame) -> str:
    """What a study of this size could settle, where it has left a question open."""
    own = rows[rows["confirmatory"].astype(bool)]
    left = own if len(own) else rows
    left = left.loc[left["verdict"] == INCONCLUSIVE, ["reachable_margin", "margin"]]
    reach, margin = 100 * left.max()
    if not reach > margin:  # nothing is open, or only what lies near the margin
        return ""
    return f"The margin is {margin:.1f} points; a study of this size can settle {reach:.1f}."


def three_lines(judged: pd.DataFrame, fitness: str = "") -> list[str]:
    """The result in three lines of plain text, for the end of a run.

    Args:
        judged: Verdicts and audits.
        fitness: Why the study is not fit for verdicts; empty if it is.
    """
    if fitness:
        return [fitness, "No verdict is given.", "The report shows estimates only."]
    if is_demonstration(judged):
        why = next(filter(None, judged["refused"]), "no model could be measured")
        return [f"A demonstration, too small for verdicts: {why}.", *_estimates(judged)]
    sexes = say(judged, "sexes", "sexes_forget")
    return [say(judged, "privacy"), say(judged, "gap", "slope"), sexes]


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
    if fitness or is_demonstration(judged):
        return [design, *cautions, *three_lines(judged, fitness)]
    told = [say(judged, name) for name in ("privacy", "gap", "sexes", "difficulty")]
    return [*cautions, say_both(judged), *told, cost]


def _estimates(judged: pd.DataFrame) -> list[str]:
    """Two sentences without a verdict: what doing nothing leaves, and what methods change."""
    kept = pick(judged, claim="C1", method=NOTHING, **QUESTIONS["forget"].where)["estimate"]
    gaps = (100 * QUESTIONS["gap"].rows(judged)["estimate"]).round(1) + 0.0  # never -0.0
    low, high = gaps.min(), gaps.max()
    return [
        f"Before unlearning, the forget set is {100 * kept.mean():.1f} points above retraining.",
        f"On the test set, methods are {low:+.1f} to {high:+.1f} points from retraining.",
    ]


def say(judged: pd.DataFrame, *names: str) -> str:
    """With how many methods something is worse than after retraining, a sentence a question."""
    return " ".join(tell(QUESTIONS[name], QUESTIONS[name].rows(judged)) for name in names)


def say_both(judged: pd.DataFrame) -> str:
    """Which methods are shown to match retraining in privacy and accuracy; of set B, if it is not.

    A study that cannot show it of set B, which is retrained, says little about methods.
    """
    asked = [QUESTIONS[name] for name in ("privacy", "gap")]
    rows = [pick(judged, claim=each.claim, **each.where) for each in asked]
    alike, tested = set(judged["method"]), set(judged["method"])
    for question, some in zip(asked, rows, strict=True):
        found = question.tally(some)
        alike &= {*found["alike"]["method"]}
        tested &= {*some["method"]} - {*found[NOT_TESTED]["method"]}
    methods = methods_of(rows[1])["method"]
    both = sorted(alike.intersection(methods))
    be, named = "are" if len(both) > 1 else "is", f": {names_of(both)}" if both else ""
    if tested.isdisjoint(methods):
        return "Whether a method matches retraining in both privacy and accuracy is not tested."
    told = f"{len(both) or 'None'} of {len(methods)} methods {be} shown to match retraining"
    told += f" in both privacy and accuracy{named}"
    if FLOOR in tested - alike:
        second = "a second retraining (set B)"
        told += f"; {second} is not" if both else f"; nor is {second}"
    return f"{told}."


def say_cost(costs: pd.DataFrame, study: Study) -> str:
    """The answer to C5, in a sentence; or why what tuning and the cost pass took cannot be added.

    Args:
        costs: As from ``add_tuning``, of all forget sizes.
        study: Whose.
    """
    known, tuned = costs[costs["forget_size"] == study.profile.middle_size], study.tuned
    if known.empty:
        return "No cost pass has run alone on the device, so nothing is known of cost."
    known, silent = known.dropna(subset="total"), "Whether tuning costs extra is not tested"
    if tuned is None or known.empty:
        return f"{silent}: nothing was tuned (`make tune`)."
    if tuned.device_type != study.device:
        return f"{silent}: it was timed on {tuned.device_type}, and unlearning on {study.device}."
    if not tuned.exclusive:
        return f"{silent}: others may have computed while trials were timed."
    above, told = (known["total_low"] > 1).sum(), "With the search for its settings, one request"
    return f"{told} costs more than one retraining for {above} of {len(known)} methods."


def describe_costs(costs: pd.DataFrame, timings: pd.DataFrame, study: Study) -> str:
    """The sentence, what one request costs without tuning, and what makes the seconds doubtful.

    Args:
        costs: As from ``add_tuning``.
        timings: As in ``tables/costs.parquet``.
        study: Whose.
    """
    middle = costs.loc[costs["forget_size"] == study.profile.middle_size, "estimate"]
    told, tuned = f"**{say_cost(costs, study)}**", study.tuned
    if len(middle):
        told += f" One request alone costs {middle.min():.2f} to {middle.max():.2f} retrainings."
    if busy := len(disturbed(timings)):
        timed = timings["exclusive"].sum()
        told += f" Something else had the core in {busy} of {timed} regions timed (`make retime`)."
    if tuned is not None and tuned.disturbed:
        timed = tuned.timed
        told += f" Something else had the core in {tuned.disturbed} of {timed} regions of tuning."
    if tuned is not None:
        others = sum(tuned.original_seconds) / (sum(tuned.retraining_seconds) / len(tuned.seeds))
        told += f" Not counted: the originals of tuning, which cost {others:.1f} retrainings."
        same = tuned.cohort == study.cohort.sha256
        if not same or tuned.recipe != canonical_hash(study.recipe):
            told += " The settings were found on another cohort or recipe than this."
    return told
