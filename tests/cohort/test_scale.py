"""A cache larger than memory: built in parallel, in bounded memory, and resumed when killed."""

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medunlearn.cohort import images
from medunlearn.cohort.decode import Decoding
from medunlearn.cohort.images import build_arrays, build_pixels, open_pixels

COUNT = 400
SLOW = """
import sys, time
from pathlib import Path
from medunlearn.cohort import images, pixels
from medunlearn.cohort.decode import Decoding
pixels.SAVED_EVERY, images.BLOCK = 32, 16
real = images.decode_file
def decode(job, how):
    time.sleep(0.01)
    return real(job, how)
images.decode_file = decode
folder = Path(sys.argv[1])
paths = [str(path) for path in sorted((folder / "images").iterdir())]
images.build_pixels(paths, folder / "cache", Decoding(8, 1), progress=False)
"""


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    names = [str(tmp_path / f"images/{number:04d}.png") for number in range(COUNT)]
    for name in names:
        Image.fromarray(random.integers(0, 256, (16, 16), dtype=np.uint8)).save(name)
    return names


def test_a_killed_build_goes_on_where_it_was_and_gives_the_same_bytes(
    paths: list[str], tmp_path: Path, monkeypatch
):
    running = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)])
    deadline = time.monotonic() + 60
    while not list((tmp_path / "cache").glob("*.saved")):
        assert running.poll() is None, "it was done before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    (saved,) = (tmp_path / "cache").glob("*.saved")
    done = int(saved.read_text())
    assert 0 < done < COUNT
    decoded, real = [], images.decode_file
    monkeypatch.setattr(
        images, "decode_file", lambda job, how: (decoded.append(job[0]), real(job, how))[1]
    )
    resumed = build_pixels(paths, tmp_path / "cache", Decoding(8, 1), progress=False)
    assert sorted(decoded) == paths[done:]
    fresh = build_pixels(paths, tmp_path / "fresh", Decoding(8, 1), progress=False)
    assert resumed.key == fresh.key
    assert resumed.path.read_bytes() == fresh.path.read_bytes()
    assert {p.name for p in (tmp_path / "cache").iterdir()} == {
        ".lock",
        resumed.path.name,
        resumed.path.with_suffix(".sha256").name,
    }


@pytest.mark.parametrize("spoil", ["cut", "number", "header", "longer"])
def test_what_a_killed_build_left_is_not_trusted_if_it_does_not_fit(
    spoil: str, paths: list[str], tmp_path: Path
):
    whole = build_pixels(paths, tmp_path / "cache", Decoding(8, 1), progress=False)
    content = whole.path.read_bytes()
    partial, saved = whole.path.with_suffix(".partial"), whole.path.with_suffix(".saved")
    whole.path.unlink()
    spoilt = {"cut": content[:5000], "number": content, "header": b"x" * 256 + content[256:]}
    spoilt["longer"] = content[: -100 * 8 * 8] + b"\xff" * 777  # written, but not surely on disk
    partial.write_bytes(spoilt[spoil])
    saved.write_text("x" if spoil == "number" else "300")
    assert build_pixels(paths, tmp_path / "cache", Decoding(8, 1), progress=False) == whole
    assert whole.path.read_bytes() == content


@pytest.mark.parametrize("source", ["arrays", "files"])
def test_memory_is_bounded_by_a_block_of_images(
    source: str, paths: list[str], tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(images, "BLOCK", 16)
    size, count = 64, 2000
    if source == "arrays":
        zeros = np.zeros((count, size, size), np.uint8)
        held = {
            f"{s}_images": zeros if s == "train" else zeros[:1] for s in ("train", "val", "test")
        }
        np.savez_compressed(tmp_path / "data.npz", **held)
        del zeros, held
    names = [f"train/{number:07d}" for number in range(count)]
    tracemalloc.start()
    try:
        if source == "arrays":
            how = Decoding(size, 1)
            build_arrays(tmp_path / "data.npz", names, tmp_path / "cache", how, progress=False)
        else:
            build_pixels(paths * 5, tmp_path / "cache", Decoding(size, 1), progress=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    (built,) = (tmp_path / "cache").glob("*.npy")
    assert open_pixels(built).shape == (count, 1, size, size)
    assert peak < count * size * size / 3
