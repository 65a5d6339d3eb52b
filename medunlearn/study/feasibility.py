"""Which claims a cohort can ever test: patients of each group against what a verdict needs."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from medunlearn.cohort.forget_sets import draw_forget_set
from medunlearn.cohort.partition import TEST, TRAIN
from medunlearn.errors import InputError
from medunlearn.evaluation.subsets import RARE, pooled_classes
from medunlearn.study.profile import Margin, Profile

DISAGREEMENT = 0.1
"""Share of patients whom two models decide differently: assumed, not measured."""

FORMULA = """\
reachable: about 3 * sqrt(0.1 * (1/n1 + 1/n2) / seeds). At this margin 80 % of studies would find
equivalence, if there is no difference. This is an approximation, and a hopeful one: it assumes that
the two models decide 1 patient in 10 differently, and that seeds add no spread of their own."""


def reachable(groups: Sequence[int], seeds: int) -> float:
    """The smallest margin, roughly, at which equivalence is found with 80 % power.

    Three standard errors: the quantiles t.95 + t.90 of the two one-sided tests sum to 2.9 to 3.3
    for 7 and more degrees of freedom. The error is that of `DISAGREEMENT` alone, independent over
    seeds; what seeds and patients add to it makes the true margin larger.

    Args:
        groups: Patients of the one or the two groups that are compared.
        seeds: Paired seeds.
    """
    return float(3 * np.sqrt(DISAGREEMENT * sum(1 / max(n, 1) for n in groups) / seeds))


def describe_claims(
    table: pd.DataFrame, classes: Sequence[str], profile: Profile, name: str
) -> list[str]:
    """Lines for people: for each claim its patients, the margin, and whether a verdict can come.

    Args:
        table: The cohort as the study would take it, with partitions.
        classes: By code.
        profile: What the study asks for.
        name: Of the profile.
    """
    limits = profile.statistics
    rows = [
        f"{claim:<40}{' and '.join(f'{n:,}' for n in groups):<16}{limits.margins[margin]:<8.3f}"
        f"{reachable(groups, profile.seeds):<11.3f}{_judge(groups, profile, margin, one_class)}"
        for claim, groups, margin, one_class in _claims(table, profile)
    ]
    labels = table.loc[table["partition"] == TEST, "label"].value_counts(normalize=True)
    return [
        f"What profile {name} can test with {profile.seeds} seeds (a verdict needs "
        f"{limits.verdict_seeds} seeds, and {limits.verdict_patients} patients in each group):",
        f"{'claim':<40}{'patients':<16}{'margin':<8}{'reachable':<11}can get a verdict",
        *rows,
        *FORMULA.split("\n"),
        f"majority rate: {labels.iloc[0]:.1%} of the test images are {classes[labels.index[0]]!r}; "
        "a model that always says so is right as often",
    ]


def describe_listed(table: pd.DataFrame, patients: Sequence[int], profile: Profile) -> list[str]:
    """Lines for people: listed patients by sex, and what a study of them can reach.

    Args:
        table: The cohort as the study would take it, with partitions.
        patients: Those of the list.
        profile: What the study asks for.
    """
    images = table[table["patient"].isin(patients)]
    women, men = _by_sex(images.drop_duplicates("patient"))
    sexes = f" ({women:,} women, {men:,} men)" if women or men else ""
    count, train = len(patients), table.loc[table["partition"] == TRAIN, "patient"].nunique()
    least, margin = profile.statistics.verdict_patients, profile.statistics.margins["forget"]
    attack = "possible" if count >= least else f"needs {least}"
    return [
        f"listed patients: {count:,}{sexes}, {len(images):,} images, "
        f"{count / train:.1%} of the training patients",
        f"  exploratory, no verdict; reachable {reachable([count], profile.seeds):.3f} for their "
        f"gap, margin {margin:.3f}; a membership attack: {attack}",
    ]


def _claims(table: pd.DataFrame, profile: Profile) -> Iterator[tuple[str, list[int], Margin, bool]]:
    """Each claim, the patients of its groups, its margin, and whether it lacks two classes."""
    people, images = table.drop_duplicates("patient"), table[table["partition"] == TEST]
    train, test = (people[people["partition"] == part] for part in (TRAIN, TEST))
    pooled = pooled_classes([images])
    one_class = len({*images["label"]} - pooled) + bool(pooled) < 2
    share = f"{profile.middle_size:.0%} forgotten"
    forgotten = round(profile.middle_size * len(train))
    yield f"C1 retain set, {share}", [len(train) - forgotten], "retain", False
    yield f"C1 forget set, {share}", [forgotten], "forget", False
    yield "C2 women against men, test set", _by_sex(test), "test", one_class
    for size in sorted(profile.forget_sizes):
        try:
            drawn = draw_forget_set(table, "random", size, "shared").patients
        except InputError:  # told beside these lines, with the reason
            drawn = ()
        groups = _by_sex(people[people["patient"].isin(drawn)])
        yield f"C2 women against men, {size:.0%} forgotten", groups, "forget", False
    yield "C3 test set", [len(test)], "test", False
    yield "C4 easy against hard third, test set", [len(test) // 3] * 2, "test", False


def _by_sex(people: pd.DataFrame) -> list[int]:
    return [int((people["sex"] == sex).sum()) for sex in ("F", "M")]


def _judge(groups: Sequence[int], profile: Profile, margin: Margin, one_class: bool) -> str:
    """Whether a verdict can come, in words."""
    limits = profile.statistics
    if profile.seeds < limits.verdict_seeds:
        return f"no: needs {limits.verdict_seeds} seeds"
    if min(groups) < limits.verdict_patients:
        return f"no: needs {limits.verdict_patients} patients in each group"
    if one_class:
        return f"no: needs {RARE} women and {RARE} men of each of two classes"
    if reachable(groups, profile.seeds) > limits.margins[margin]:
        return "hardly: too few patients or seeds for this margin"
    return "yes"
