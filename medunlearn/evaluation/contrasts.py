"""A contrast: an estimate with its spread, its margin, and whether it may be judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medunlearn.statistics.intervals import Interval


@dataclass(frozen=True)
class Terms:
    """What was settled before results were seen.

    Args:
        margins: Half width of the region of equivalence: ``retain``, ``forget``, ``test``,
            ``slope`` (per doubling of the forget size), ``attack`` (area under the ROC curve).
        confirmatory: Methods whose contrasts are confirmatory.
        middle_size: Forget size at which patients are compared.
        sizes: Forget sizes of the design.
        seeds: Paired seeds of the design.
        verdict_seeds: Fewer give no verdict.
        verdict_patients: Fewer in a group give no verdict.
        reliability: Of difficulty on the test set; NaN if it was not measured.
    """

    margins: Mapping[str, float]
    confirmatory: Sequence[str]
    middle_size: float
    sizes: Sequence[float]
    seeds: int
    verdict_seeds: int
    verdict_patients: int
    reliability: float = float("nan")


def make_row(
    terms: Terms, *, found: Interval, margin: float, primary: bool, **names: object
) -> dict[str, object]:
    """A contrast as a row of the table."""
    confirmatory = primary and names["method"] in terms.confirmatory
    return {
        **names,
        **found.columns,
        "margin": margin,
        "confirmatory": confirmatory,
        "family": names["claim"],
    }


def refuse(terms: Terms, seeds: int, patients: int) -> str:
    """Why a contrast may not be judged; empty if it may."""
    if terms.seeds < terms.verdict_seeds:
        return f"needs {terms.verdict_seeds} paired seeds, this profile has {terms.seeds}"
    if seeds < terms.seeds:
        return f"unbalanced: {terms.seeds - seeds} of {terms.seeds} paired seeds are missing"
    if patients < terms.verdict_patients:
        return f"needs {terms.verdict_patients} patients in each group, one has {patients}"
    return ""
