"""The deletion record: whole, true, without an id, and checked against what was written."""

import copy
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

from medunlearn.disk import DiskFullError
from medunlearn.errors import InputError
from medunlearn.study.study import PROJECT
from medunlearn.unlearning import record as records
from medunlearn.unlearning.deletion import unlearn_with_record, verify_record
from medunlearn.unlearning.evidence import main_table
from medunlearn.unlearning.record import PAGE, RECORD, WEIGHTS, render, write_record

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

COUNT = 48
LABELS = np.arange(COUNT) // 2 % 2
IDS = [f"Muster-{i // 2}" for i in range(COUNT)]
SEX = ["FM"[i // 4 % 2] for i in range(COUNT)]
LIST = IDS[:16:2]
RECIPE = {"epochs": 5, "batch_size": 16, "learning_rate": 0.02}


def draw(seed: int) -> np.ndarray:
    """The class is a shade of grey, hard to see: half of what is learnt is single images."""
    noise = np.random.default_rng(seed).random((COUNT, 1, 6, 6)).astype(np.float32)
    return noise + 0.1 * LABELS[:, None, None, None].astype(np.float32)


IMAGES = draw(0)
TEST = {
    "images": draw(1).astype(float),
    "labels": LABELS,
    "patients": [f"t{i // 2}" for i in range(COUNT)],
}
CALL = {"forget": LIST, "patients": IDS, "method": "finetune", "recipe": RECIPE}


def make_network() -> torch.nn.Module:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2))
    optimizer = torch.optim.Adam(network.parameters(), 0.05)
    for _ in range(40):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            network(torch.tensor(IMAGES)), torch.tensor(LABELS)
        )
        loss.backward()
        optimizer.step()
    return network


NETWORK = make_network()


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    """A record with everything that one can hold."""
    folder = tmp_path_factory.mktemp("records") / "full"
    torch.manual_seed(1)
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2))
    unlearn_with_record(
        folder, NETWORK, IMAGES, LABELS, sex=SEX, test={**TEST, "sex": SEX}, retrained=other,
        request="A <b>12", normalise=np.array([0.0, 1.0]), **CALL,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A record of what cannot be compared, by rows."""
    folder = tmp_path_factory.mktemp("records") / "bare"
    unlearn_with_record(
        folder, NETWORK, IMAGES, LABELS, forget=[0, 5], method="neg_grad", epochs=1, recipe=RECIPE
    )
    return folder


def content(folder: Path) -> dict:
    return json.loads((folder / RECORD).read_text())


def answers(weights: dict, images: np.ndarray) -> np.ndarray:
    return images.reshape(COUNT, -1) @ weights["1.weight"].numpy().T + weights["1.bias"].numpy()


def found(record: dict, measure: str, network: str, images="forget", group="all") -> list:
    (row,) = [
        row for row in record["measured"]
        if (row["measure"], row["network"], row["images"], row["group"])
        == (measure, network, images, group)
    ]  # fmt: skip
    return [row["patients"], row["estimate"], row["low"], row["high"]]


def test_accuracy_is_that_of_the_weights_with_an_interval_over_patients(full):
    logits = answers(load_file(full / WEIGHTS), IMAGES)
    right = (logits.argmax(1) == LABELS).reshape(-1, 2).mean(1)
    listed, women = np.arange(24) < 8, np.array(SEX[::2]) == "F"
    for images, group, who in (
        ("forget", "all", listed), ("retain", "all", ~listed), ("forget", "F", listed & women),
    ):  # fmt: skip
        few = right[who]
        limits = stats.t.interval(0.95, len(few) - 1, few.mean(), stats.sem(few))
        expected = [len(few), few.mean(), *np.clip(limits, 0, 1)]
        assert found(content(full), "accuracy", "unlearned", images, group) == pytest.approx(
            expected, abs=1e-4, nan_ok=True
        )  # fmt: skip


def test_membership_is_the_auc_of_the_surer_answer_among_like_patients(full):
    weights = load_file(full / WEIGHTS)
    sure = []  # log-odds of the true class, mean of a patient's two images
    for images in (IMAGES, TEST["images"]):
        gap = np.diff(answers(weights, images))[:, 0]
        sure.append(np.where(LABELS == 1, gap, -gap).reshape(-1, 2).mean(1))
    kind = np.array([f"{SEX[i]}{LABELS[i]}" for i in range(0, COUNT, 2)])
    wins = [np.mean(sure[0][i] > sure[1][kind == kind[i]]) for i in range(8)]
    patients, auc, low, high = found(content(full), "membership", "unlearned")
    assert (patients, auc) == (8, pytest.approx(np.mean(wins), abs=1e-4))
    assert 0 <= low < auc < high <= 1
    far = [abs(side - [np.median(sure[1][kind == k]) for k in kind]) for side in sure]
    wins = [np.mean(far[0][i] > far[1][kind == kind[i]]) for i in range(8)]
    folded = found(content(full), "membership_folded", "unlearned")[1]
    assert folded == pytest.approx(np.mean(wins), abs=1e-4) != auc


def test_the_difference_is_from_retraining_else_from_the_original(full, bare):
    for folder, base in ((full, "retrained"), (bare, "original")):
        record = content(folder)
        ours, theirs = (found(record, "accuracy", each)[1] for each in ("unlearned", base))
        assert found(record, "accuracy", "difference")[1] == pytest.approx(ours - theirs, abs=1e-4)
        assert f"unlearned minus {base}" in main_table(record)


def test_the_record_tells_the_request_the_call_and_where_it_was_made(full):
    record, page = content(full), (full / PAGE).read_text()
    assert {path.name for path in full.iterdir()} == {RECORD, PAGE, WEIGHTS}
    rows = [i for i in range(COUNT) if IDS[i] in LIST]
    assert record["request"]["rows"] == rows
    assert (record["request"]["patients"], record["request"]["images"]) == (8, len(rows))
    assert record["method"]["name"] == "finetune"
    assert record["method"]["found"] == "usual"
    assert record["method"]["settings"]["epochs"] == 1  # a fifth of the recipe's
    assert record["environment"]["threads"] == torch.get_num_threads()
    assert len(record["environment"]["lock"]) == 64
    hashes = [each["sha256"] for each in record["networks"].values()]
    assert len(set(hashes)) == 3
    for told in [*hashes, record["request"]["sha256"], "A &lt;b&gt;12", *record["not_proven"]]:
        assert told in page
    assert "2110.11891" in page
    assert "women" in page
    assert record["method"]["idea"] == "Fine-tuning on the retain set."
    for told in ("Fine-tuning on the retain set.", "learning_rate 0.02", "[0.0, 1.0]"):
        assert told in page


def test_no_id_is_in_it(full):
    for path in full.iterdir():
        assert b"uster" not in path.read_bytes().lower()


def test_without_retraining_and_test_patients_the_page_says_so(full, bare):
    page, limits = (bare / PAGE).read_text(), content(bare)["not_proven"]
    said = (
        "No honest retraining was made: the unlearned network is compared with the original alone"
    )
    assert said in page
    assert said not in (full / PAGE).read_text()
    assert any(said in limit for limit in limits)
    assert any("No attack was tried" in limit for limit in limits)
    assert {row["measure"] for row in content(bare)["measured"]} == {"accuracy"}
    assert content(bare)["method"]["found"] == "given"


def test_without_patients_the_page_tells_of_images(full, bare):
    own, page = (" ".join((each / PAGE).read_text().split()) for each in (full, bare))
    assert content(bare)["request"]["patients"] is None
    assert "2 images, of 48 training images" in page
    assert "Whose images they are was not given" in page
    assert "images" in main_table(content(bare))
    assert "8 patients with 16 images, of 24 training patients" in own


def test_warnings_are_on_top_of_the_page(full, tmp_path):
    with pytest.warns(UserWarning, match="answers at chance"):
        unlearn_with_record(tmp_path / "new", NETWORK, -IMAGES, LABELS, **CALL)
    (*_, said) = found = content(tmp_path / "new")["warnings"]
    page = (tmp_path / "new" / PAGE).read_text()
    assert "answers at chance" in found[0]
    assert page.index(said[:40]) < page.index("Conclusion")
    assert "answers at chance" not in (full / PAGE).read_text()


def conclude(record: dict, patients: int, *intervals: tuple[str, str, float, float]) -> str:
    """First paragraph of a page with these differences: measure, images, low, high."""
    rows = [
        {"measure": measure, "images": images, "group": "all", "patients": patients,
         "network": network, "estimate": (low + high) / 2, "low": low, "high": high}
        for measure, images, low, high in intervals for network in ("unlearned", "difference")
    ]  # fmt: skip
    page = " ".join(render(record | {"measured": rows}).split())
    return page.partition("Conclusion.")[2].partition("</p>")[0]


def test_the_page_concludes_no_more_than_the_intervals_show(full, bare):
    record = content(full)
    same, apart = ("accuracy", "forget", -0.1, 0.2), ("membership", "forget", 0.02, 0.1)
    said = conclude(record, 8, same, apart)
    assert "too few" in said
    assert "intervals" not in said
    said = conclude(record, 12, same)
    assert "no difference between the unlearned and the retrained network is seen" in said
    assert "does not mean that they are the same" in said
    assert "worse" not in said
    said = conclude(record, 12, same, apart, ("accuracy", "test", -0.2, -0.1))
    assert "the unlearned and the retrained network differ" in said
    assert "interval: remembered: +6 (+2 to +10)." in said
    assert "worse than the retrained one elsewhere: right answers, never trained on: -15" in said
    assert "unlearned and the original network" in conclude(content(bare), 12, same)


def test_of_few_patients_no_interval_is_shown(full):
    table = main_table(content(full))["unlearned minus retrained"]
    assert table["to be forgotten"].tolist() == ["too few to say"] * 3
    assert "(" in table["never trained on"].iloc[0]


def test_what_was_changed_afterwards_is_named(bare, tmp_path):
    folder = Path(shutil.copytree(bare, tmp_path / "copy"))
    assert content(bare)["sha256"] in verify_record(folder)[0]
    weights = bytearray((folder / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (folder / WEIGHTS).write_bytes(weights)
    (folder / PAGE).unlink()
    (folder / RECORD).write_text((folder / RECORD).read_text().replace("neg_grad", "retrain"))
    with pytest.raises(InputError) as error:
        verify_record(folder)
    said = [
        f"{WEIGHTS} is missing or has other bytes",
        f"{PAGE} is missing",
        f"{RECORD} has another",
    ]
    for fault, expected in zip(error.value.faults, said, strict=False):
        assert expected in fault
    (folder / RECORD).write_text("{")
    with pytest.raises(InputError, match=r"holds no whole record\.json"):
        verify_record(folder)


def test_the_same_call_gives_the_same_bytes(full, monkeypatch):
    again, scale = {"patients": IDS}, np.array([0.0, 1.0])
    other_call = {"method": "ssd", "seed": 1, "recipe": {"epochs": 1}, "epochs": 3}
    for call in (again, {**CALL, "normalise": scale}, again | other_call):
        assert "the same bytes here" in verify_record(full, NETWORK, IMAGES, LABELS, **call)[2]
    assert "not repeated" in verify_record(full)[2]
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2))
    with pytest.raises(InputError) as error:
        verify_record(full, other, IMAGES + 1, LABELS, forget=IDS[:2], **again)
    assert [fault.partition(":")[0] for fault in error.value.faults] == [
        "forget", "model", "images and labels",
    ]  # fmt: skip
    halved = {**again, "normalise": (0.0, 0.5)}
    with pytest.raises(InputError, match=r"other bytes here: .*and normalise as then"):
        verify_record(full, NETWORK, IMAGES, LABELS, **halved)
    stamp = records.stamp
    monkeypatch.setattr(records, "stamp", lambda place: stamp(place) | {"device": "Z80"})
    said = verify_record(full, NETWORK, IMAGES, LABELS, **halved)[2]
    assert "device Z80" in said
    assert "this proves nothing" in said


def test_a_list_is_compared_with_the_rows_without_an_image(full):
    assert "patients were not checked: give forget=" in verify_record(full, patients=IDS)[1]
    assert "are those of the record" in verify_record(full, patients=IDS, forget=LIST)[1]
    for ids, wrong, said in (
        (IDS, LIST[1:], "forget: not those of this record"), (IDS, ["x"], "1 not found"),
        (IDS[1:], LIST, "patients: 47 given; expected 48"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            verify_record(full, patients=ids, forget=wrong)


def test_a_record_of_a_study_is_not_repeated_here(full, tmp_path):
    study = content(full) | {"study": "Phantom"}
    del study["sha256"], study["method"]["normalise"]
    write_record(tmp_path / "record", study, NETWORK)
    told = verify_record(tmp_path / "record", forget=["p1"])[1]
    assert told == "patients were not checked: repeat the same make forget in the study"
    with pytest.raises(InputError, match=r"model: .* study Phantom; .* same make forget"):
        verify_record(tmp_path / "record", NETWORK, IMAGES, LABELS)


@pytest.mark.parametrize("model", ["network.pt", NETWORK.state_dict()])
def test_what_is_no_network_is_refused(model, full):
    with pytest.raises(InputError, match=r"expected a torch\.nn\.Module"):
        verify_record(full, model, IMAGES, LABELS, patients=IDS)


def test_an_attack_is_told_only_where_one_was_made(full):
    record, logits = content(full), np.zeros((3, 2), np.float32)
    cohort = pd.DataFrame({
        "sample": range(3), "patient": range(3), "partition": ["train", "train", "test"],
        "label": [0, 0, 1], "sex": None,
    })  # fmt: skip
    told = records.describe(
        {"original": NETWORK, "unlearned": NETWORK}, {"original": logits, "unlearned": logits},
        cohort, [0], method=record["method"], seconds={}, device="cpu", data="",
    )["not_proven"]  # fmt: skip
    assert any("No attack was tried" in each for each in told)
    assert not any("One simple attack" in each for each in told)


def test_a_function_for_the_scale_has_to_be_given_again(tmp_path):
    same = {"normalise": lambda x: x}
    unlearn_with_record(tmp_path / "new", NETWORK, IMAGES, LABELS, **CALL, **same)
    again = (tmp_path / "new", NETWORK, IMAGES, LABELS)
    with pytest.raises(InputError, match="normalise: was a function"):
        verify_record(*again, patients=IDS)
    assert "the same bytes" in verify_record(*again, patients=IDS, **same)[2]


def fill_disk() -> Iterator[str]:
    yield "half a page"
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_record_is_never_overwritten_and_never_half_written(bare, tmp_path, monkeypatch):
    call = {"forget": [0], "method": "neg_grad", "recipe": RECIPE}
    before = content(bare)
    with pytest.raises(InputError, match="is there already"):
        unlearn_with_record(bare, NETWORK, IMAGES, LABELS, **call)
    assert content(bare) == before

    def fail(render: Callable[[], str], error: type[Exception]) -> None:
        monkeypatch.setattr(records, "render", lambda _: render())
        with pytest.raises(error):
            unlearn_with_record(tmp_path / "new", NETWORK, IMAGES, LABELS, **call)

    fail(lambda: 1 / 0, ZeroDivisionError)
    fail(lambda: "".join(fill_disk()), DiskFullError)
    assert list(tmp_path.iterdir()) == []
    fail(lambda: (tmp_path / "new").mkdir() or "page", InputError)  # by another process, meanwhile
    assert [*tmp_path.rglob("*")] == [tmp_path / "new"]


def test_what_cannot_be_recorded_is_told_at_once(tmp_path):
    def fail(**change) -> list[str]:
        with pytest.raises(InputError) as error:
            unlearn_with_record(tmp_path / "new", NETWORK, IMAGES, LABELS, **(CALL | change))
        return error.value.faults

    wrong = {**TEST, "sex": ["w"] * COUNT, "patient": IDS}
    assert len(fail(test=wrong, forget=["nobody"], sex=SEX[1:])) == 4
    (said,) = fail(test={**TEST, "patient": IDS})
    assert said.startswith("test: 'patient' is not known; did you mean 'patients'?")
    assert fail(test={**TEST, "patients": IDS}) == [
        "train and test: 24 patients are in both; expected none"
    ]
    assert "is another network" in fail(retrained=torch.nn.Linear(2, 2))[0]
    assert "has the weights of the original" in fail(retrained=copy.deepcopy(NETWORK))[0]
    assert "load_state_dict" in fail(retrained=NETWORK.state_dict())[0]


def test_the_three_calls_of_the_readme_are_true(tmp_path, monkeypatch):
    readme = (PROJECT / "README.md").read_text()
    (code,) = [
        each for each in readme.split("```") if "unlearn_with_record" in each and "asked" in each
    ]
    monkeypatch.chdir(tmp_path)
    ids = ["p17" if each in LIST else each for each in IDS]
    names = {"model": NETWORK, "images": IMAGES, "labels": LABELS, "ids": ids, "test": TEST}
    exec(code.removeprefix("python"), names | {"mean": 0.5, "deviation": 0.5, "recipe": RECIPE})
    record = content(tmp_path / "record")
    assert record["request"]["images"] == len(LIST) * 2
    assert record["method"]["normalise"] == [0.5, 0.5]
