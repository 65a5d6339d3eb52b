import errno
import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import pytest

from medunlearn.disk import DiskFullError
from medunlearn.errors import InputError
from medunlearn.sources import canonical_hash
from medunlearn.study import keys
from medunlearn.study.cells import Cell
from medunlearn.study.design import (
    all_models,
    original,
    reference,
    references,
    retrained,
    unlearned,
)
from medunlearn.study.store import RECORD, Store
from medunlearn.study.study import PROJECT

CELL = Cell("random", 0.1)
O0, R0, U0 = original(1000), retrained(CELL, 1000), unlearned("salun", CELL, 1000)


@pytest.fixture
def store(tiny_study):
    return Store(tiny_study)


def write(store, spec, content="weights"):
    with store.writing(spec) as folder:
        (folder / "weights.safetensors").write_text(content)


def test_a_model_appears_whole_with_its_record(store):
    assert not store.is_done(O0)
    write(store, O0)
    assert store.is_done(O0)
    record = json.loads((store.path(O0) / RECORD).read_text())
    assert record["status"] == "done"
    assert record["key"] == store.path(O0).name
    assert record["ingredients"]["versions"]["torch"]
    assert set(record["files"]) == {"weights.safetensors"}


@pytest.mark.parametrize("harm", ["truncate", "delete"])
def test_a_harmed_folder_is_not_done_and_is_made_again(store, harm):
    write(store, O0)
    file = store.path(O0) / "weights.safetensors"
    {"truncate": lambda: file.write_text("weig"), "delete": file.unlink}[harm]()
    assert store.missing([O0]) == [O0]
    write(store, O0)
    assert store.missing([O0]) == []
    assert len(list(store.folder.iterdir())) == 1


def test_a_model_without_its_input_or_made_from_other_weights_is_not_done(store):
    """On a device that does not repeat its bytes an original made again is another one."""
    write(store, O0)
    write(store, U0)
    shutil.rmtree(store.path(O0))
    assert store.missing([O0, U0]) == [O0, U0]
    write(store, O0, "other weights")
    assert store.missing([O0, U0]) == [U0]
    store.discard(O0)
    write(store, O0)
    assert store.missing([O0, U0]) == []


def test_a_model_made_again_is_seen_by_who_had_looked_before(store):
    """As the engine looks while notebooks write."""
    write(store, O0)
    write(store, U0)
    looking = Store(store.study)
    assert looking.is_done(U0)
    store.discard(O0)
    write(store, O0, "other weights")
    assert not Store(store.study).is_done(U0)
    write(store, U0)
    looking._verified.pop(store.entry(O0).key)
    assert looking.is_done(U0)


def test_every_model_has_a_key_of_its_own_and_knows_its_inputs(store):
    specs = all_models(store.study.profile)
    assert len({store.entry(spec).key for spec in specs}) == len(specs)
    assert store.entry(R0).inputs == []
    assert store.entry(U0).inputs == [store.entry(O0).key]


HARD = Cell("hard", 0.1)
RH, UH = retrained(HARD, 1000), unlearned("salun", HARD, 1000)


def test_a_forget_set_drawn_by_difficulty_stands_on_the_reference_models(store):
    halves = references(store.study.profile)
    keys = [store.entry(half).key for half in halves]
    assert store.entry(RH).inputs == keys
    assert store.entry(UH).inputs == [store.entry(O0).key, *keys]
    for spec in (*halves, O0, RH, UH):
        write(store, spec)
    assert store.missing([RH, UH]) == []
    store.discard(halves[1])
    assert store.missing([RH, UH, O0]) == [RH, UH]
    write(store, halves[1], "other weights")
    assert store.missing([RH, UH, O0]) == [RH, UH]


def changed(study, **update):
    return replace(study, profile=study.profile.model_copy(update=update))


def test_what_decides_a_model_is_in_its_key_and_nothing_else(store):
    study = store.study
    slower = study.profile.relearning.model_copy(update={"learning_rate": 0.001})
    flipped = study.cohort.manifest.model_copy(update={"horizontal_flip": True})
    turned = replace(study, cohort=replace(study.cohort, manifest=flipped))
    everything = {O0, R0, U0, reference(1200)}
    for other, models in (
        (study.with_settings("salun", {"share": 0.3}), {U0}),
        (changed(study, relearning=slower), {R0, U0}),
        (changed(study, network="resnet18"), everything),
        (changed(study, seeds=5), set()),
        (turned, everything),
    ):
        now = Store(other)
        assert {s for s in everything if now.entry(s).key != store.entry(s).key} == models


@pytest.mark.parametrize(
    ("module", "stale"),
    [
        ("medunlearn.training", {O0, R0, U0}),
        ("medunlearn.methods.salun", {U0}),
        ("medunlearn.evaluation.relearning", {R0, U0}),
        ("medunlearn.evaluation.difficulty", set()),
        ("medunlearn.figures", set()),
        ("medunlearn.statistics.intervals", set()),
        ("medunlearn.study.engine", set()),
        ("medunlearn.cost", set()),
    ],
)
def test_an_edit_makes_stale_what_depends_on_it_and_says_why(store, monkeypatch, module, stale):
    specs = [O0, R0, U0]
    for spec in specs:
        write(store, spec)
    real = keys.module_hashes

    def edited(*names, **without):
        found = real(*names, **without)
        return {m: ("edited" if m == module else sha) for m, sha in found.items()}

    monkeypatch.setattr(keys, "module_hashes", edited)
    after = Store(store.study)
    assert set(after.missing(specs)) == stale
    reasons = after.stale(specs)
    assert set(reasons) == stale
    for spec in stale:
        assert f"code of {module}" in reasons[spec]


KILLED = """
import os, sys
from medunlearn.study.design import original
from medunlearn.study.store import Store
from medunlearn.study.study import open_study
study = open_study("phantom", sys.argv[1], runs=sys.argv[2], device="cpu")
with Store(study).writing(original(1000)):
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_was_writing_is_partial_until_it_is_swept(store):
    """Its lock went with it, whichever its number, container or host was."""
    given = store.study.profile_name, store.study.folder.parent
    subprocess.run([sys.executable, "-c", KILLED, *given], cwd=PROJECT, check=False)
    assert store.states([O0, R0]) == {O0: "partial", R0: "absent"}
    with store.writing(R0) as held:
        assert store.states([O0, R0]) == {O0: "partial", R0: "partial"}
        Store(store.study).sweep()
        assert list(store.folder.iterdir()) == [held]
    assert store.states([O0, R0]) == {O0: "absent", R0: "done"}
    assert {path.name for path in store.path(R0).iterdir()} == {RECORD}


def test_bytes_that_rot_are_found_when_they_are_read_and_made_again(store):
    """A disk that rots leaves the size as it was."""
    write(store, O0)
    file = store.path(O0) / "weights.safetensors"
    assert store.file(O0, file.name) == file
    file.write_text("weighty")
    late = Store(store.study)
    assert late.missing([O0]) == [], "a look does not read"
    with pytest.raises(InputError, match="has other bytes than were written"):
        late.file(O0, file.name)
    assert late.missing([O0]) == [O0]
    with pytest.raises(FileNotFoundError):
        late.file(O0, file.name)


def fail_to_write(store, spec, error):
    with store.writing(spec) as folder:
        (folder / "weights.safetensors").write_text("half")
        raise error


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ArithmeticError("diverged"), ArithmeticError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, "No space left"), DiskFullError),
    ],
)
def test_a_model_that_is_not_finished_leaves_nothing(store, error, raised):
    with pytest.raises(raised):
        fail_to_write(store, O0, error)
    assert list(store.folder.iterdir()) == []
    write(store, O0)
    assert store.is_done(O0)


def test_what_changed_is_told_from_old_to_new(store):
    write(store, O0)
    write(store, U0)
    other = Store(store.study.with_settings("salun", {"epochs": 2, "share": 0.3}))
    assert other.stale([O0, U0]) == {U0: ["settings (epochs: 1 -> 2, share: - -> 0.3)"]}
    cohort = replace(store.study.cohort, sha256="0" * 64)  # hashes are not told
    assert Store(replace(store.study, cohort=cohort)).stale([O0]) == {O0: ["cohort"]}


@pytest.mark.parametrize(
    "content", [b'{"key', b"\xff", b"[]", b'"text"', b'{"title": "original, seed 1000"}']
)
def test_a_harmed_record_of_an_older_form_harms_nobody(store, content):
    (store.folder / "0123").mkdir(parents=True)
    (store.folder / "0123" / RECORD).write_bytes(content)
    assert store.stale([O0]) == {}
    store.path(O0).mkdir()
    (store.path(O0) / RECORD).write_bytes(content)
    assert not store.is_done(O0)
    write(store, O0)
    assert store.states([O0]) == {O0: "done"}


def test_a_record_of_another_model_or_version_is_no_record(store):
    write(store, O0)
    path = store.path(O0) / RECORD
    own = json.loads(path.read_text())
    other = {key: value for key, value in own.items() if key != "sha256"}
    for content in (other | {"key": "another"}, {k: v for k, v in other.items() if k != "sizes"}):
        path.write_text(json.dumps(content | {"sha256": canonical_hash(content)}))
        assert Store(store.study).record(store.entry(O0).key) is None
    path.write_text(json.dumps(other | {"seconds": float("nan"), "sha256": ""}))
    assert Store(store.study).missing([O0]) == [O0]


def test_a_record_with_one_wrong_letter_is_not_believed(store):
    """Wherever it is: a wrong key of an input would make a model of other inputs look done."""
    write(store, O0)
    write(store, U0)
    path = store.path(U0) / RECORD
    whole = path.read_text()
    for right, wrong in (
        (store.entry(O0).key, "0" * 20),
        ('"inputs"', '"inputz"'),
        ('"seconds": 0', '"seconds": 1'),
        ('"epochs": 1', '"epochs": 3'),
    ):
        assert right in whole
        path.write_text(whole.replace(right, wrong))
        assert store.missing([O0, U0]) == [U0], right
    path.write_text(whole)
    assert store.missing([O0, U0]) == []


def test_two_that_finish_the_same_model_at_once_both_end_well(store, monkeypatch):
    """Both see that it is not there; neither takes away what the other has just named."""
    write(store, O0, "unsound")
    (store.path(O0) / "weights.safetensors").write_text("harmed")
    second, moving, go_on = Store(store.study), threading.Event(), threading.Event()
    real = store.discard

    def slow(spec):
        moving.set()
        go_on.wait(900)
        real(spec)

    monkeypatch.setattr(store, "discard", slow)
    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(write, store, O0, "first")]
        assert moving.wait(900)
        ends.append(pool.submit(write, second, O0, "second"))
        early = wait(ends[1:], timeout=1).done  # it waits for the first, or would name its own
        go_on.set()
    assert not early, "the first is about to take away what the second has named"
    for end in ends:
        end.result()
    assert (store.path(O0) / "weights.safetensors").read_text() == "first"
    assert store.missing([O0]) == []
    assert len(list(store.folder.iterdir())) == 1
