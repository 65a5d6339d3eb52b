import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import pytest

from medunlearn.disk import DiskFullError
from medunlearn.errors import InputError
from medunlearn.study import folders, keys
from medunlearn.study import store as module
from medunlearn.study.design import (
    Cell,
    all_models,
    original,
    reference,
    references,
    retrained,
    unlearned,
)
from medunlearn.study.folders import RECORD
from medunlearn.study.store import Ledger
from medunlearn.study.study import PROJECT

CELL = Cell("random", 0.1)
O0, R0, U0 = original(0), retrained(CELL, 0), unlearned("salun", CELL, 0)


@pytest.fixture
def ledger(tiny_study):
    return Ledger(tiny_study)


def write(ledger, spec, content="weights"):
    with ledger.writing(spec) as folder:
        (folder / "weights.safetensors").write_text(content)


def test_a_model_appears_whole_with_its_record(ledger):
    assert not ledger.is_done(O0)
    write(ledger, O0)
    assert ledger.is_done(O0)
    record = json.loads((ledger.path(O0) / RECORD).read_text())
    assert record["status"] == "done"
    assert record["key"] == ledger.path(O0).name
    assert record["ingredients"]["versions"]["torch"]
    assert set(record["files"]) == {"weights.safetensors"}


def test_a_model_that_another_host_has_named_is_seen_before_it_is_named_again(ledger, monkeypatch):
    """A network's file system may say that it is not there, until its folder is listed."""
    write(ledger, O0, "of the other host")
    late, listed, real = Ledger(ledger.study), [], Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: listed.append(path) or real(path))
    monkeypatch.setattr(late, "discard", lambda _: None)
    seen = lambda spec: late.folder in listed and Ledger.is_done(late, spec)  # noqa: E731
    monkeypatch.setattr(late, "is_done", seen)
    write(late, O0, "own")
    assert (late.path(O0) / "weights.safetensors").read_text() == "of the other host"


@pytest.mark.parametrize("harm", ["truncate", "delete", "change", "record"])
def test_a_harmed_folder_is_not_done_and_is_made_again(ledger, harm):
    write(ledger, O0)
    file = ledger.path(O0) / "weights.safetensors"
    {
        "truncate": lambda: file.write_text("weig"),
        "delete": file.unlink,
        "change": lambda: file.write_text("weighty"),
        "record": lambda: (ledger.path(O0) / RECORD).write_text('{"key'),
    }[harm]()
    assert ledger.missing([O0]) == [O0]
    write(ledger, O0)
    assert ledger.missing([O0]) == []
    assert len(list(ledger.folder.iterdir())) == 1


def test_a_model_without_its_input_or_made_from_other_weights_is_not_done(ledger):
    """On a device that does not repeat its bytes an original made again is another one."""
    write(ledger, O0)
    write(ledger, U0)
    shutil.rmtree(ledger.path(O0))
    assert ledger.missing([O0, U0]) == [O0, U0]
    write(ledger, O0, "other weights")
    assert ledger.missing([O0, U0]) == [U0]
    ledger.discard(O0)
    write(ledger, O0)
    assert ledger.missing([O0, U0]) == []
    ledger.discard(O0)
    ledger.discard_outdated([O0, R0, U0])
    assert not ledger.path(U0).exists()


def test_every_model_has_a_key_of_its_own_and_knows_its_inputs(ledger):
    specs = all_models(ledger.study.profile)
    assert len({ledger.entry(spec).key for spec in specs}) == len(specs)
    assert ledger.entry(R0).inputs == []
    assert ledger.entry(U0).inputs == [ledger.entry(O0).key]


HARD = Cell("hard", 0.1)
RH, UH = retrained(HARD, 0), unlearned("salun", HARD, 0)


def test_a_forget_set_drawn_by_difficulty_stands_on_the_reference_models(ledger):
    halves = references(ledger.study.profile)
    keys = [ledger.entry(half).key for half in halves]
    assert ledger.entry(RH).inputs == keys
    assert ledger.entry(UH).inputs == [ledger.entry(O0).key, *keys]
    for spec in (*halves, O0, RH, UH):
        write(ledger, spec)
    assert ledger.missing([RH, UH]) == []
    ledger.discard(halves[1])
    assert ledger.missing([RH, UH, O0]) == [RH, UH]
    write(ledger, halves[1], "other weights")
    assert ledger.missing([RH, UH, O0]) == [RH, UH]


def changed(study, **update):
    return replace(study, profile=study.profile.model_copy(update=update))


def test_what_decides_a_model_is_in_its_key_and_nothing_else(ledger):
    study = ledger.study
    slower = study.profile.relearning.model_copy(update={"learning_rate": 0.001})
    flipped = study.cohort.manifest.model_copy(update={"horizontal_flip": True})
    turned = replace(study, cohort=replace(study.cohort, manifest=flipped))
    everything = {O0, R0, U0, reference(200)}
    for other, models in (
        (study.with_settings("salun", {"share": 0.3}), {U0}),
        (changed(study, relearning=slower), {R0, U0}),
        (changed(study, network="resnet18"), everything),
        (changed(study, seeds=5), set()),
        (turned, everything),
    ):
        now = Ledger(other)
        assert {s for s in everything if now.entry(s).key != ledger.entry(s).key} == models


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
def test_an_edit_makes_stale_what_depends_on_it_and_says_why(ledger, monkeypatch, module, stale):
    specs = [O0, R0, U0]
    for spec in specs:
        write(ledger, spec)
    real = keys.module_hashes

    def edited(*names, **without):
        found = real(*names, **without)
        return {m: ("edited" if m == module else sha) for m, sha in found.items()}

    monkeypatch.setattr(keys, "module_hashes", edited)
    after = Ledger(ledger.study)
    assert set(after.missing(specs)) == stale
    reasons = after.stale(specs)
    assert set(reasons) == stale
    for spec in stale:
        assert f"code of {module}" in reasons[spec]


KILLED = """
import os, sys
from pathlib import Path
from filelock import FileLock
from medunlearn.study.folders import hold
folder = Path(sys.argv[1])
folder.mkdir()
with hold(folder, sys.argv[2], FileLock(folder.parent / ".models.lock")):
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_was_writing_is_partial_until_it_is_swept(ledger):
    """Its lock went with it, whichever its number, container or host was."""
    command = [sys.executable, "-c", KILLED, ledger.folder, ledger.entry(O0).key]
    subprocess.run(command, cwd=PROJECT, check=False)
    assert ledger.states([O0, R0]) == {O0: "partial", R0: "absent"}
    with ledger.writing(R0) as held:
        assert ledger.states([O0, R0]) == {O0: "partial", R0: "partial"}
        Ledger(ledger.study).sweep()
        assert list(ledger.folder.iterdir()) == [held]
    assert ledger.states([O0, R0]) == {O0: "absent", R0: "done"}
    assert {path.name for path in ledger.path(R0).iterdir()} == {RECORD}


def test_a_look_hashes_no_file_that_has_its_size_and_time(ledger, monkeypatch):
    write(ledger, O0)
    hashed, real = [], folders.file_hash
    monkeypatch.setattr(folders, "file_hash", lambda path: hashed.append(path) or real(path))
    assert Ledger(ledger.study).missing([O0]) == []
    assert hashed == []
    file = ledger.path(O0) / "weights.safetensors"
    assert file.stat().st_mtime_ns % 10**9 == 0, "else a later writer might leave the same time"
    os.utime(file)  # as in a copy
    assert Ledger(ledger.study).missing([O0]) == []
    assert hashed == [file]


def test_bytes_that_rot_are_found_when_they_are_read_and_made_again(ledger):
    """A disk that rots leaves size and time as they were."""
    write(ledger, O0)
    file = ledger.path(O0) / "weights.safetensors"
    assert ledger.file(O0, file.name) == file
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_text("weighty")
    os.utime(file, ns=times)
    late = Ledger(ledger.study)
    assert late.missing([O0]) == [], "a look does not read"
    with pytest.raises(InputError, match="has other bytes than were written"):
        late.file(O0, file.name)
    assert late.missing([O0]) == [O0]
    with pytest.raises(FileNotFoundError):
        late.file(O0, file.name)


def test_two_that_finish_the_same_model_at_once_both_end_well(ledger, monkeypatch):
    """Both see that it is not there; neither takes away what the other has just named."""
    write(ledger, O0, "unsound")
    (ledger.path(O0) / "weights.safetensors").write_text("harmed")
    second, moving, go_on = Ledger(ledger.study), threading.Event(), threading.Event()
    real = ledger.discard

    def slow(spec):
        moving.set()
        go_on.wait(20)
        real(spec)

    monkeypatch.setattr(ledger, "discard", slow)
    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(write, ledger, O0, "first")]
        assert moving.wait(20)
        ends.append(pool.submit(write, second, O0, "second"))
        early = wait(ends[1:], timeout=1).done  # it waits for the first, or would name its own
        go_on.set()
    assert not early, "the first is about to take away what the second has named"
    for end in ends:
        end.result()
    assert (ledger.path(O0) / "weights.safetensors").read_text() == "first"
    assert ledger.missing([O0]) == []
    assert len(list(ledger.folder.iterdir())) == 1


@pytest.mark.parametrize("outdated", [False, True])
def test_what_another_has_just_finished_is_not_taken_away(ledger, monkeypatch, outdated):
    """Between the look at a model and the lock another notebook may have made it again."""
    write(ledger, O0)
    write(ledger, U0)
    if outdated:  # sound, and made from another original than the one that is there now
        ledger.discard(O0)
        write(ledger, O0, "another original")
    else:
        (ledger.path(U0) / "weights.safetensors").write_text("harmed")
    second, naming = Ledger(ledger.study), ledger._naming

    class Late:
        def __enter__(self):
            write(second, U0, "made again")
            naming.acquire()

        def __exit__(self, *_):
            naming.release()

    monkeypatch.setattr(ledger, "_naming", Late())
    ledger.discard_outdated([O0, U0])
    assert (ledger.path(U0) / "weights.safetensors").read_text() == "made again"


def fail_to_write(ledger, spec, error):
    with ledger.writing(spec) as folder:
        (folder / "weights.safetensors").write_text("half")
        raise error


def test_a_model_has_a_state(ledger, monkeypatch):
    write(ledger, O0)
    with pytest.raises(ArithmeticError):
        fail_to_write(ledger, R0, ArithmeticError("blown up"))
    other = original(1)
    with ledger.writing(other):
        states = Ledger(ledger.study).states([O0, R0, U0, other])
    assert states == {O0: "done", R0: "failed", U0: "absent", other: "partial"}
    real = keys.module_hashes
    monkeypatch.setattr(
        keys, "module_hashes", lambda *names, **_: {**real(*names), names[0]: "edited"}
    )
    assert Ledger(ledger.study).states([O0, R0]) == {O0: "stale", R0: "absent"}


def test_a_failure_is_noted_until_the_model_is_made(ledger):
    with pytest.raises(ArithmeticError):
        fail_to_write(ledger, O0, ArithmeticError("blown up"))
    assert [path.name[:8] for path in ledger.folder.iterdir()] == [".failed-"]
    note = Ledger(ledger.study).failures([O0, R0])[O0]
    assert note["error"] == "ArithmeticError: blown up"
    assert note["host"] == socket.gethostname()
    assert note["seconds"] >= 0
    assert note["when"]
    assert ledger.missing([O0]) == [O0], "it is tried again"
    write(ledger, O0)
    assert ledger.failures([O0]) == {}
    assert not list(ledger.folder.glob(".failed-*"))


def test_being_interrupted_is_no_failure(ledger):
    with pytest.raises(KeyboardInterrupt):
        fail_to_write(ledger, O0, KeyboardInterrupt())
    assert list(ledger.folder.iterdir()) == []


def test_the_failure_of_an_older_form_is_forgotten_with_it(ledger):
    other = Ledger(ledger.study.with_settings("salun", {"share": 0.3}))
    write(ledger, O0)
    with pytest.raises(ArithmeticError):
        fail_to_write(other, U0, ArithmeticError("with these settings"))
    assert ledger.failures([U0]) == {}, "of other settings"
    write(ledger, U0)
    assert not list(ledger.folder.glob(".failed-*"))


def test_a_note_that_cannot_be_read_is_no_failure(ledger):
    with pytest.raises(ArithmeticError):
        fail_to_write(ledger, O0, ArithmeticError("blown up"))
    (note,) = ledger.folder.iterdir()
    for content in (b'{"key": ', b"[]", b'{"key": "x"}', b"\xff\xfe"):
        note.write_bytes(content)
        assert ledger.states([O0]) == {O0: "absent"}


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_and_the_model_is_absent(ledger, error):
    with pytest.raises(DiskFullError, match="free some space"):
        fail_to_write(ledger, O0, OSError(error, os.strerror(error)))
    assert not ledger.is_done(O0)
    note = ledger.failures([O0])[O0]
    assert "free some space" in note["error"]


def test_a_disk_too_full_for_the_note_still_tells_the_first_fault(ledger, monkeypatch):
    monkeypatch.setattr(module, "write_record", lambda *_: Path("/no/such/file").stat())
    with pytest.raises(ArithmeticError):
        fail_to_write(ledger, O0, ArithmeticError("blown up"))


def test_what_changed_is_told_from_old_to_new(ledger):
    write(ledger, O0)
    write(ledger, U0)
    other = Ledger(ledger.study.with_settings("salun", {"epochs": 2, "share": 0.3}))
    assert other.stale([O0, U0]) == {U0: ["settings (epochs: 1 -> 2, share: - -> 0.3)"]}
    cohort = replace(ledger.study.cohort, sha256="0" * 64)  # hashes are not told
    assert Ledger(replace(ledger.study, cohort=cohort)).stale([O0]) == {O0: ["cohort"]}


def test_of_several_older_forms_the_nearest_is_told(ledger):
    near = ledger.study.with_settings("salun", {"epochs": 2})
    for study in (near, replace(near, cohort=replace(near.cohort, sha256="0" * 64))):
        write(Ledger(study), O0)
        write(Ledger(study), U0)
    assert ledger.stale([U0]) == {U0: ["settings (epochs: 2 -> 1)"]}


@pytest.mark.parametrize(
    "content", [b'{"key', b"\xff", b"[]", b'"text"', b'{"title": "original, seed 0"}']
)
def test_a_harmed_record_of_an_older_form_harms_nobody(ledger, content):
    (ledger.folder / "0123").mkdir(parents=True)
    (ledger.folder / "0123" / RECORD).write_bytes(content)
    assert ledger.stale([O0]) == {}
    ledger.path(O0).mkdir()
    (ledger.path(O0) / RECORD).write_bytes(content)
    assert not ledger.is_done(O0)
    write(ledger, O0)
    assert ledger.states([O0]) == {O0: "done"}


def test_a_record_with_one_wrong_letter_is_not_believed(ledger):
    """Wherever it is: a wrong key of an input would make a model of other inputs look done."""
    write(ledger, O0)
    write(ledger, U0)
    path = ledger.path(U0) / RECORD
    whole = path.read_text()
    for right, wrong in (
        (ledger.entry(O0).key, "0" * 20),
        ('"inputs"', '"inputz"'),
        ('"seconds": 0', '"seconds": 1'),
        ('"epochs": 1', '"epochs": 3'),
    ):
        assert right in whole
        path.write_text(whole.replace(right, wrong))
        assert ledger.missing([O0, U0]) == [U0], right
    path.write_text(whole)
    assert ledger.missing([O0, U0]) == []
