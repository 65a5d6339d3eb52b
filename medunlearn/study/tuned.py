"""Settings found by tuning: frozen in a file, with how they were found and what it cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medunlearn.disk import written_whole
from medunlearn.errors import InputError
from medunlearn.methods import Setting
from medunlearn.sources import canonical_hash, module_hashes
from medunlearn.study.profile import PROFILES, check_settings
from medunlearn.yamlfile import describe_fault, read_yaml

HEAD = """\
# Made by: make tune DATASET={dataset} PROFILE={profile}
# The study reads the settings of each method; the rest tells how they were found, without a look at
# any retrained model, and at what cost.
# `oracle_tuned` is the trial that such a look would have chosen: a comparison, used nowhere.
# Remove this file to go back to the usual settings.
"""


@dataclass(frozen=True)
class Trial:
    """One setting, tried on the originals of every development seed.

    Args:
        settings: What was tried.
        score: What is minimised (see ``search.score``), mean over seeds; 0 is best, 2 the worst.
        forget: Accuracy on the development forget set, mean over seeds; none if a model diverged.
        evaluation: Accuracy on ``validation_evaluation``, likewise.
        seconds: Preparation and unlearning, one number for each seed.
    """

    settings: dict[str, Setting]
    score: float
    forget: float | None
    evaluation: float | None
    seconds: tuple[float, ...]


class Found(BaseModel):
    """What was found for one method.

    Args:
        settings: Those in use.
        usual: Those of the profile, which the search began with.
        code: Hash of the method's source.
        chosen: Their trial, counted from 0, which is the usual setting.
        oracle_tuned: The trial nearest to retraining; it was looked for after the choice.
        oracle_gaps: Of each trial: how far it is from retraining (see ``tuning.oracle_gap``).
        trials: All of them, in the order they were made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: dict[str, Setting]
    usual: dict[str, Setting]
    code: str
    chosen: int
    oracle_tuned: int
    oracle_gaps: list[float]
    trials: list[Trial] = Field(min_length=1)

    @model_validator(mode="after")
    def _be_what_was_tried(self) -> Self:
        tried = range(len(self.trials))
        if self.chosen not in tried or self.oracle_tuned not in tried:
            raise ValueError(f"expected chosen and oracle_tuned among trials 0 to {tried[-1]}")
        if self.settings != self.trials[self.chosen].settings:
            raise ValueError("expected the settings of the chosen trial, and no others")
        return self


class Tuned(BaseModel):
    """The settings of all methods of a study, and how they were found.

    Args:
        cohort: Hash of the cohort they were found on.
        recipe: Hash of how the originals were trained.
        device: Where it was timed.
        device_type: ``cpu`` or ``cuda``.
        host: On which machine.
        torch: Version.
        exclusive: Whether a lock kept other studies of the machine from the device all the time.
        timed: Regions that were timed.
        disturbed: Those in which something else had the processor (see ``costs.disturbed``).
        patients: Size of the development forget set.
        seeds: Of the originals.
        doing_nothing: The score of the originals as they are: to be beaten.
        retraining_seconds: Of one retraining without the development forget set, for each seed.
        original_seconds: Of training the original of each seed, which nothing but tuning needs.
            Not timed alone, and not counted in what the tuning of one method costs.
        methods: What was found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cohort: str
    recipe: str
    device: str
    device_type: Literal["cpu", "cuda"]
    host: str
    torch: str
    exclusive: bool
    timed: int
    disturbed: int
    patients: int
    seeds: list[int]
    doing_nothing: float
    retraining_seconds: list[float] = Field(min_length=2)
    original_seconds: list[float]
    methods: dict[str, Found]

    @model_validator(mode="after")
    def _have_seconds_for_each_seed(self) -> Self:
        for name, found in self.methods.items():
            if {len(trial.seconds) for trial in found.trials} != {len(self.seeds)}:
                raise ValueError(f"{name}: expected seconds for each of the seeds")
        return self

    def replace_in(
        self, methods: Mapping[str, dict[str, Setting]]
    ) -> dict[str, dict[str, Setting]]:
        """The settings of a profile, those that were tuned in place of the usual ones."""
        found = {name: each.settings for name, each in self.methods.items()}
        return {name: {**usual, **found.get(name, {})} for name, usual in methods.items()}

    def bills(self) -> pd.DataFrame:
        """Seconds of all trials of a method: one row for each ``method`` and ``seed``."""
        rows = [
            {"method": name, "seed": seed, "seconds": sum(t.seconds[rank] for t in found.trials)}
            for name, found in self.methods.items()
            for rank, seed in enumerate(self.seeds)
        ]
        return pd.DataFrame(rows, columns=["method", "seed", "seconds"])


def method_code(method: str) -> str:
    """Hash of a method's source, with what methods share; never of the training they stand on."""
    hashes = module_hashes(f"medunlearn.methods.{method}")
    return canonical_hash({k: v for k, v in hashes.items() if ".methods" in k})


SHIPPED = PROFILES.with_name("tuned")
"""Settings of the study's own profiles on its embedded cohort."""


def tuned_path(study_folder: Path) -> Path:
    """Where the settings of a study are frozen: ``RUNS/tuned/<dataset>-<profile>.yaml``.

    It lies outside the study's folder, so that ``make clean`` leaves it.
    """
    return study_folder.parent / "tuned" / f"{study_folder.name}.yaml"


def find_tuned(study_folder: Path, profile: str) -> Tuned | None:
    """The settings in RUNS; else those that the package ships for a profile of its own.

    Raises:
        InputError: Every fault of the file.
    """
    own = tuned_path(study_folder)
    if own.is_file() or Path(profile).suffix:
        return read_tuned(own)
    return read_tuned(SHIPPED / own.name)


def read_tuned(path: Path) -> Tuned | None:
    """What was found by tuning; none if nothing was tuned.

    Raises:
        InputError: Every fault of the file.
    """
    if not path.is_file():
        return None
    fields, faults = read_yaml(path)
    try:
        tuned = Tuned.model_validate(fields)
    except ValidationError as error:
        faults += [describe_fault(fault, Tuned.model_fields) for fault in error.errors()]
    else:
        faults += [f for name, m in tuned.methods.items() for f in check_settings(name, m.settings)]
    if faults:
        raise InputError(str(path), [*faults, "or remove the file and tune again: make tune"])
    return tuned


def write_tuned(tuned: Tuned, path: Path, *, dataset: str, profile: str) -> None:
    """Freeze what was found; the file appears whole."""
    content = tuned.model_dump(mode="json")
    text = yaml.safe_dump(content, sort_keys=False, width=100, default_flow_style=None)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        partial.write_text(HEAD.format(dataset=dataset, profile=profile) + text)
