"""A study: one dataset x one profile, opened in its folder."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from medunlearn.cohort.build import Cohort, build_cohort
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.patients import find_listed
from medunlearn.errors import InputError
from medunlearn.methods import Setting
from medunlearn.study.devices import choose_device
from medunlearn.study.profile import Profile, check_settings, load_profile
from medunlearn.study.tuned import Tuned, find_tuned

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Study:
    """What every notebook and command works on.

    Args:
        dataset: The manifest, by name or path.
        profile_name: The profile, by name or path.
        profile: Its content; settings that were tuned stand in place of the usual ones.
        cohort: Table and pixels.
        folder: ``<runs>/<dataset>-<profile>``.
        device: ``cpu`` or ``cuda``.
        data_root: Where real datasets lie; empty for the phantom.
        tuned: How the settings were found, if they were.
    """

    dataset: str
    profile_name: str
    profile: Profile
    cohort: Cohort
    folder: Path
    device: str
    data_root: str = ""
    tuned: Tuned | None = None

    @property
    def title(self) -> str:
        """For people: dataset, profile, device."""
        profile = Path(self.profile_name).stem
        return f"{self.cohort.manifest.name}, profile {profile}, {self.device}"

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """How every model is trained: the fields of ``batches.Recipe``."""
        return {
            "network": self.profile.network,
            "channels": self.cohort.manifest.channels,
            "classes": len(self.cohort.classes),
            "horizontal_flip": self.cohort.manifest.horizontal_flip,
            "image_size": self.cohort.pixels.shape[-1],
            "weights": self.profile.weights,
            **self.profile.training.model_dump(),
        }

    def settings(self, method: str) -> Mapping[str, Setting]:
        """The settings of a method: tuned, else the profile's; its own where these are silent."""
        return self.profile.methods.get(method, {})

    def usual_settings(self, method: str) -> Mapping[str, Setting]:
        """The profile's settings of a method, as if nothing had been tuned."""
        return load_profile(self.profile_name).methods.get(method, {})

    def with_settings(
        self, method: str, settings: Mapping[str, Setting], *, anew: bool = False
    ) -> "Study":
        """The same study with other settings of one method: its models get keys of their own.

        Args:
            method: Name in the registry.
            settings: They go before the study's.
            anew: They stand in place of all the study's settings of the method, tuned ones too.

        Raises:
            InputError: The method or a setting is not known.
        """
        # doing nothing may be asked for in a notebook, but is no method of a profile
        faults = check_settings(method, settings) if method != "original" or settings else []
        if faults:
            raise InputError("parameters", faults)
        kept = {} if anew else self.settings(method)
        methods = {**self.profile.methods, method: {**kept, **settings}}
        return replace(self, profile=self.profile.model_copy(update={"methods": methods}))


def open_study(
    dataset: str = "phantom",
    profile: str = "quick",
    *,
    data_root: str = "",
    runs: str = "",
    device: str = "",
    forget: str = "",
    look_again: bool = False,
) -> Study:
    """Open a study; its cohort is built if this was not done before.

    Args:
        dataset: Name of a manifest, or the path of one.
        profile: ``quick``, ``laptop``, ``full``, or the path of a profile of your own.
        data_root: Folder in which datasets lie; default: the variable DATA.
        runs: Folder of all results; default: the variable RUNS, else ``runs`` of the project.
        device: ``cpu`` or ``cuda``; default: the variable DEVICE, else cuda if there is one. It
            need not be here: a study that others computed can be looked at anywhere.
        forget: A file of patients, one id a line, who make a forget set of their own; default: the
            profile's. It is part of the study only where it is given. The study's folder gets
            their numbers (``draws/listed-...json``), never their ids.
        look_again: Whether images and pixels are verified too, and not only the tables.

    Raises:
        InputError: Any fault in what was given, or in the data.
    """
    settings, manifest = load_profile(profile), load_manifest(dataset)
    root = data_root or os.environ.get("DATA", "")
    folder = study_folder(dataset, profile, runs)
    chosen = choose_device(device or os.environ.get("DEVICE", ""))
    cohort = build_cohort(
        manifest,
        Path(root).expanduser() if root else None,
        folder=folder,
        cache=folder.parent / "cache",
        image_size=settings.image_size,
        max_patients=settings.max_patients,
        look_again=look_again,
    )
    if cohort.table["sex"].nunique() < 2:  # nobody to compose a forget set of one sex from
        kept = [c for c in settings.compositions if c not in {"female", "male"}]
        settings = settings.model_copy(update={"compositions": kept})
    if given := forget or settings.forget:
        listed = find_listed(Path(given).expanduser(), cohort.table, cohort.salt)
        listed.write(folder / "draws")
        settings = settings.model_copy(update={"listed": listed})
    tuned = find_tuned(folder, profile)
    if tuned is not None:
        settings = settings.model_copy(update={"methods": tuned.replace_in(settings.methods)})
    return Study(dataset, profile, settings, cohort, folder, chosen, root, tuned)


def study_parameters(study: Study) -> dict[str, str]:
    """The parameters that every notebook has."""
    return {
        "dataset": study.dataset,
        "data_root": study.data_root,
        "runs": str(study.folder.parent),
        "profile": study.profile_name,
        "device": study.device,
    }


def study_folder(dataset: str, profile: str, runs: str = "") -> Path:
    """Where a study lies: ``<runs>/<dataset>-<profile>``, absolute, there or not.

    Raises:
        InputError: No such dataset or profile.
    """
    load_profile(profile)
    base = Path(runs or os.environ.get("RUNS", "") or PROJECT / "runs").expanduser()
    return base.absolute() / f"{load_manifest(dataset).name}-{Path(profile).stem}"
