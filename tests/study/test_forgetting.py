"""``make forget``: listed patients leave the study's own models, with a record of it."""

from pathlib import Path

import pytest

from medunlearn.__main__ import main
from medunlearn.evaluation.predictions import predict
from medunlearn.models import load_weights
from medunlearn.study.builder import Builder
from medunlearn.study.cells import listed_cells
from medunlearn.study.design import original, unlearned
from medunlearn.study.study import open_study
from medunlearn.unlearning import record as records
from medunlearn.unlearning.evidence import ATTACKS
from medunlearn.unlearning.record import PAGE, read_sealed

METHOD = "finetune"


@pytest.fixture
def given(tiny_study, tmp_path) -> dict[str, str]:
    """What the command is given: the tiny study, and twelve training patients nobody reserved."""
    table = tiny_study.cohort.table
    free = table[(table["partition"] == "train") & ~table["development"]]
    path = tmp_path / "ids.txt"
    path.write_text("\n".join(free["source_patient"].unique()[:12]))
    runs, profile = str(tiny_study.folder.parent), tiny_study.profile_name
    return {"profile": profile, "runs": runs, "forget": str(path), "device": "cpu"}


def run(given: dict[str, str], **more: str) -> int:
    options = {**given, **more}
    return main(["forget", *(word for k, v in options.items() for word in (f"--{k}", v))])


def test_the_record_is_of_the_studys_own_model_and_can_be_repeated(given, capsys):
    assert run(given, method=METHOD) == 0
    folder = Path(capsys.readouterr().out.rpartition("record: ")[2].strip()).parent
    assert folder.parent == Path(given["runs"]) / "records"
    study = open_study(**given)
    spec = unlearned(METHOD, listed_cells(study.profile)[0], 1000)
    builder = Builder(study)
    builder.unlearn([spec])
    found = load_weights(builder.trained(original(1000)), folder / records.WEIGHTS)
    assert (predict(found, builder.images) == builder.logits(spec)).all()

    record, names = read_sealed(folder), Path(given["forget"]).read_text().split()
    assert record["request"]["patients"] == 12
    assert set(record["networks"]) == set(record["seconds"]) | {"original"}
    assert {row["measure"] for row in record["measured"]} == {"accuracy", *ATTACKS}
    assert {row["group"] for row in record["measured"]} == {"all", "F", "M"}
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    assert not any(name.encode() in content for name in names)

    assert run(given, method=METHOD) == 0
    assert "the same call gave the same bytes here" in capsys.readouterr().out
    assert run({}, verify=str(folder), forget=given["forget"]) == 0
    said = capsys.readouterr().out
    assert record["sha256"] in said
    assert "not one that is in use elsewhere" in (folder / PAGE).read_text()
    (folder / PAGE).write_text("all is forgotten")
    assert run({}, verify=str(folder)) == 2
    assert f"{PAGE} is missing or has other bytes" in capsys.readouterr().err


def test_without_a_list_or_with_another_method_nothing_is_made(given, tiny_study, capsys):
    assert run({**given, "forget": ""}) == 2
    assert "FORGET=ids.txt" in capsys.readouterr().err
    assert run(given, method="salunn") == 2
    assert "did you mean 'salun'?" in capsys.readouterr().err
    assert not (tiny_study.folder / "models").exists()
