"""A profile: everything that decides a study, apart from the dataset."""

import ast
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from medunlearn.cohort.forget_sets import Composition, ForgetSet
from medunlearn.errors import InputError, choose_from
from medunlearn.methods import METHOD_NAMES, Setting
from medunlearn.models import NetworkName, fault_of_network, is_short
from medunlearn.yamlfile import describe_fault, read_yaml

PROFILES = Path(__file__).with_name("profiles.yaml")

Share = Annotated[float, Field(gt=0, lt=1)]

Margin = Literal["retain", "forget", "test", "probability", "slope", "attack"]
"""Of accuracy and class-balanced accuracy by partition; of the probability of the true class; of
the slope of accuracy per doubling of the forget size; of an attack's area under the ROC curve."""

ANEW = ("eu_k", "r2d", "sisa")
"""Methods that train anew, from a fresh network or a checkpoint, at every request."""


def _know_network(given: NetworkName) -> NetworkName:
    if not is_short(given) and (fault := fault_of_network(given)):
        raise ValueError(f"{fault} (looked for beside the profile, too)")
    return given


def _find_file(given: str) -> str:
    if given and not Path(given).is_file():
        raise ValueError("expected a file that is there; a profile names it from its own folder")
    return given


def _know_methods(given: dict[str, dict[str, Setting]]) -> dict[str, dict[str, Setting]]:
    faults = [f for method, settings in given.items() for f in check_settings(method, settings)]
    if faults:
        raise ValueError("; ".join(faults))
    return given


def _hold_all(given: dict[str, float]) -> dict[str, float]:
    if absent := set(get_args(Margin)) - set(given):
        raise ValueError(f"expected a margin for {', '.join(sorted(absent))} too")
    return given


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Training(_Strict):
    """How originals and retrained models are trained (see ``training.Recipe``)."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    momentum: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    max_shift: int = Field(ge=0)


class Cost(_Strict):
    """Runs of the cost pass: unmeasured ones first, then measured ones."""

    warmups: int = Field(ge=0)
    repeats: int = Field(ge=1)


class Tuning(_Strict):
    """Search for settings: trials of each method, each on the originals of so many seeds."""

    trials: int = Field(ge=1)
    seeds: int = Field(ge=2, le=100)


class Relearning(_Strict):
    """Training on the retain set after unlearning, to see how fast the forget set comes back."""

    steps: int = Field(ge=1)
    every: int = Field(ge=1)
    learning_rate: float = Field(gt=0)


class Stream(_Strict):
    """Requests to forget, of equal size, each unlearned from the model before; exploratory."""

    requests: int = Field(ge=2)
    up_to: Share
    methods: list[str] = Field(min_length=1)


class Statistics(_Strict):
    """Margins and conditions of a verdict, settled before results are seen."""

    level: Share
    verdict_seeds: int = Field(ge=2)
    verdict_patients: int = Field(ge=2)
    margins: Annotated[dict[Margin, Share], AfterValidator(_hold_all)]
    justification: str


class Profile(_Strict):
    """One entry of ``profiles.yaml``."""

    network: Annotated[NetworkName, AfterValidator(_know_network)]
    weights: Annotated[str, AfterValidator(_find_file)] = ""
    forget: Annotated[str, AfterValidator(_find_file)] = ""
    image_size: int = Field(ge=16)
    max_patients: int | None = Field(ge=10)
    training: Training
    forget_sizes: list[Share] = Field(min_length=1)
    middle_size: Share
    compositions: list[Composition]
    first_seed: int = Field(default=1000, ge=1000, lt=9000, multiple_of=1000)
    seeds: int = Field(ge=1, le=100)
    floor_seeds: int = Field(ge=0, le=100)
    references: int = Field(ge=0, multiple_of=2)
    relearning: Relearning
    stream: Stream | None = None
    methods: Annotated[dict[str, dict[str, Setting]], AfterValidator(_know_methods)]
    confirmatory: list[str] = Field(max_length=5)
    cost: Cost
    tuning: Tuning
    statistics: Statistics
    listed: ForgetSet | None = Field(default=None, exclude=True)
    """In no file: a list has ids, which only a study that is opened with it can read."""

    @property
    def rewinds(self) -> bool:
        """Whether a method needs the originals as they were before their last epochs."""
        read = (ast.unparse(_function_of(method).decorator_list[0]) for method in self.methods)
        return any("checkpoint" in told for told in read)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        """Fields that are right each for itself may still make no design."""
        streamed = self.stream.methods if self.stream else []
        named = [*self.confirmatory, *streamed]
        strangers = ", ".join(name for name in named if name not in self.methods)
        anew = ", ".join(name for name in streamed if name in ANEW)
        drawn = {"easy", "hard"} & set(self.compositions)
        needed, floor = self.statistics.verdict_seeds, self.floor_seeds
        kept = {
            f"middle_size: given {self.middle_size}; expected one of the forget sizes": (
                self.middle_size in self.forget_sizes
            ),
            "compositions: expected 'random' among them": "random" in self.compositions,
            "references: expected at least 2: compositions easy and hard are drawn from them": (
                self.references > 0 or not drawn
            ),
            f"confirmatory, stream: {strangers}: not among the profile's methods": not strangers,
            f"stream: {anew}: trains anew at each request, as if all had come at once; expected "
            "methods that go on from the weights of the model before": not anew,
            f"floor_seeds is {floor}: expected at most as many as seeds, {self.seeds}": (
                floor <= self.seeds
            ),
            f"floor_seeds is {floor}: a profile with verdicts needs {needed}": (
                floor >= needed or self.seeds < needed
            ),
        }
        if faults := [rule for rule, holds in kept.items() if not holds]:
            raise ValueError("; ".join(faults))
        return self


def panel() -> tuple[str, ...]:
    """The unlearning methods: doing nothing and retraining are not counted as methods."""
    return tuple(name for name in METHOD_NAMES if name not in {"original", "retrain"})


def check_settings(method: str, settings: Mapping[str, Setting]) -> list[str]:
    """What is wrong with a method's name or the names of its settings, with the choices."""
    if method not in panel():
        return [f"method {method!r} is not known; {choose_from(method, panel())}"]
    known = settings_of(method)
    return [
        f"setting {setting!r} of method {method!r} is not known; {choose_from(setting, known)}"
        for setting in settings
        if setting not in known
    ]


def settings_of(method: str) -> list[str]:
    """Names of a method's settings, read from its source: torch stays unimported."""
    arguments = _function_of(method).args.kwonlyargs
    return [argument.arg for argument in arguments if argument.arg != "seed"]


@cache
def _function_of(method: str) -> ast.FunctionDef:
    source = Path(__file__).parents[1] / "methods" / f"{method}.py"
    body = ast.parse(source.read_text()).body
    return next(n for n in body if isinstance(n, ast.FunctionDef) and n.name == method)


def load_profile(name: str) -> Profile:
    """Read and check one profile.

    Args:
        name: ``quick``, ``laptop``, ``compositions``, ``large`` or ``full``; or the path of a YAML
            file with the fields of one, or with ``base: quick`` and what differs.

    Raises:
        InputError: No such profile, or a fault in it; all are named at once.
    """
    path = Path(name).expanduser()
    known, faults = read_yaml(PROFILES)
    own = path.suffix in {".yaml", ".yml"}
    if not own and name not in known:
        choices = choose_from(name, known)
        raise InputError("PROFILE", [f"{name!r} is not known; {choices}, or give a .yaml file"])
    fields, faults = _read_own(path, known) if own else (known[name], faults)
    try:
        profile = Profile.model_validate(fields)
    except ValidationError as error:
        names = {*Profile.model_fields, "base"} - {"listed"}
        faults += [describe_fault(fault, names) for fault in error.errors()]
    if faults:
        raise InputError(f"profile {name}", faults)
    return profile


def _read_own(path: Path, known: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A profile of one's own: its fields, those of its ``base`` where it is silent, and faults.

    Files that it names lie in its folder. So may the module of its network: Python looks for it
    there after all other places.

    Raises:
        InputError: The file cannot be read, or its base is not known.
    """
    fields, faults = read_yaml(path)
    folder = path.absolute().parent
    if "base" in fields:
        base = str(fields.pop("base"))
        if base not in known:
            faults.append(f"base: given {base!r}; {choose_from(base, known)}")
            raise InputError(f"profile {path}", faults)
        if isinstance(fields.get("training"), dict):
            fields["training"] = known[base]["training"] | fields["training"]
        fields = known[base] | fields
    for field in ("weights", "forget"):
        if isinstance(given := fields.get(field), str) and given:
            fields[field] = str((folder / Path(given).expanduser()).resolve())
    if not is_short(fields.get("network", "")) and str(folder) not in sys.path:
        sys.path.append(str(folder))
    return fields, faults
