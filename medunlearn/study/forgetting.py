"""The deletion record of a study: listed patients, one method, the first seed."""

from pathlib import Path
from typing import Any

from torch import nn

from medunlearn.cost import Clock
from medunlearn.errors import InputError, choose_from
from medunlearn.evaluation.predictions import predict
from medunlearn.methods import get_method
from medunlearn.study.builder import Builder
from medunlearn.study.cells import listed_cells
from medunlearn.study.design import original, retrained, seeds, unlearned
from medunlearn.study.reproduce import alone
from medunlearn.study.study import Study
from medunlearn.training import reestimate_statistics
from medunlearn.unlearning.record import PAGE, compare_repeat, describe, read_sealed, write_record


def forget_listed(study: Study, method: str) -> list[str]:
    """Unlearn the listed patients, and write the record; one that is there is checked instead.

    Original and retrained model are those of the study's first seed, and made if they are missing.
    The record lies in ``RUNS/records``, outside the study's folder, so that ``make clean`` leaves
    it.

    Args:
        study: Opened with a list.
        method: One of its profile.

    Returns:
        Lines for people.

    Raises:
        InputError: There is no list, the profile has no such method, another run is at work here,
            or the record that is there was changed or cannot be repeated.
    """
    profile = study.profile
    if profile.listed is None:
        fault = "no list of patients; expected a text file with one id a line: FORGET=ids.txt"
        raise InputError("FORGET", [fault])
    if method not in profile.methods:
        fault = f"{method!r} is no method of this profile; {choose_from(method, profile.methods)}"
        raise InputError("METHOD", [fault])
    name = f"{study.folder.name}-{method}-{profile.listed.order}"
    folder = study.folder.parent / "records" / name
    record = read_sealed(folder) if folder.exists() else None
    with alone(study.folder):
        content, model = _make(study, method, name)
    if record is not None:
        told = compare_repeat(record, model, study.device)
        return [f"{folder} is there: every file is as it was written", told]
    return [f"number: {write_record(folder, content, model)}", f"record: {folder / PAGE}"]


def _make(study: Study, method: str, request: str) -> tuple[dict[str, Any], nn.Module]:
    """The content of the record, and the network after unlearning."""
    builder, seed, listed = Builder(study), seeds(study.profile)[0], listed_cells(study.profile)[0]
    first, again = original(seed), retrained(listed, seed)
    builder.train([first, again])
    spec, clock = unlearned(method, listed, seed), Clock(builder.device)
    settings = get_method(method).usual(builder.recipe) | dict(study.settings(method))
    model = get_method(method)(
        builder.trained(first), builder.task(spec, clock), seed=seed, **settings
    )
    with clock("batchnorm"):
        reestimate_statistics(model, builder.batches(builder.training_rows(spec)[0]))
    tuned = study.tuned is not None and method in study.tuned.methods
    networks = {"original": builder.trained(first), "unlearned": model}
    networks["retrained"] = builder.trained(again)
    content = describe(
        networks,
        {name: predict(network, builder.images) for name, network in networks.items()},
        study.cohort.table,
        builder.store.forget_set(spec).patients,
        method={
            "name": method,
            "seed": seed,
            "settings": settings,
            "found": "tuned" if tuned else "profile",
            "recipe": study.recipe | {"weights": Path(study.recipe["weights"]).name},
        },
        seconds={
            "unlearned": sum(region.seconds for region in clock.regions.values()),
            "retrained": float(builder.costs([again])["seconds"].sum()),
        },
        device=study.device,
        data=study.cohort.sha256,
        request=request,
        study=study.title,
    )
    return content, model
