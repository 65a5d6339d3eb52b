"""Images become squares of bytes in one array: in order, in bounded memory, once, and whole."""

import io
import shutil
import struct
import threading
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medunlearn.cohort import cache
from medunlearn.cohort.cache import PixelCache, build_pixels, open_pixels, store_pixels
from medunlearn.cohort.decode import Decoding, decode_image, shrink
from medunlearn.disk import DiskFullError
from medunlearn.errors import InputError
from tests.conftest import cut_off, filled_disk, flip_a_bit

RANDOM = np.random.default_rng(0)


def _draw(path: Path, values: np.ndarray) -> str:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(values).save(path)
    return str(path)


def _draw_many(folder: Path, count: int = 5, shape: tuple[int, ...] = (40, 30)) -> list[str]:
    greys = RANDOM.integers(0, 256, (count, *shape), dtype=np.uint8)
    return [_draw(folder / f"{i:04d}.png", grey) for i, grey in enumerate(greys)]


def _cache(paths: list[str], folder: Path, size: int = 16, channels: int = 1, **how) -> PixelCache:
    return build_pixels(
        [(str(path), "") for path in paths], folder, Decoding(size, channels, **how)
    )


def _build(paths: list[str], folder: Path, size: int = 16, channels: int = 1, **how) -> np.ndarray:
    return open_pixels(_cache(paths, folder, size, channels, **how).path)


def _left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _faults(paths: list[str], folder: Path) -> list[str]:
    with pytest.raises(InputError) as error:
        _build(paths, folder)
    return error.value.faults


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The files that were decoded."""
    calls: list[str] = []
    monkeypatch.setattr(
        cache, "decode_image", lambda path, how: calls.append(path) or decode_image(path, how)
    )
    return calls


# One image


def test_images_keep_their_order_and_become_squares_of_bytes(tmp_path: Path):
    greys = [np.full((40, 30), grey, np.uint8) for grey in range(256)] * 2
    paths = [_draw(tmp_path / f"{i}.png", grey) for i, grey in enumerate(greys)]
    array = _build(paths, tmp_path / "cache")
    assert array.shape == (512, 1, 16, 16)
    assert array.dtype == np.uint8
    assert (array == np.tile(np.arange(256), 2)[:, None, None, None]).all()


def test_shrinking_is_antialiased_and_crops_nothing(tmp_path: Path):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 200  # every second column: skipping pixels would give 0 or 200
    stripes[:, 60:] = 255
    array = _build([_draw(tmp_path / "a.png", stripes)], tmp_path / "cache", size=8)
    assert np.allclose(array[..., 1:6], 100, atol=8)
    assert (array[..., -1] > 150).all()
    assert (shrink(stripes[None, None], 8) == array).all()  # generated images likewise
    with pytest.raises(ValueError, match="100"):
        shrink(stripes[None, None], 100)


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_are_scaled_as_the_manifest_states(tmp_path: Path, kind: str):
    deep = np.tile(np.array([0, 256, 32768, 65535], np.uint16).repeat(8), (32, 1))
    path = _draw(tmp_path / f"a.{kind}", deep)
    whole = _build([path], tmp_path / "cache", size=32, intensity=(0, 65535))
    assert whole[0, 0, 0, ::8].tolist() == [0, 1, 128, 255]
    part = _build([path], tmp_path / "cache", size=32, intensity=(256, 33024))
    assert part[0, 0, 0, ::8].tolist() == [0, 0, 253, 255]


def test_grey_becomes_three_equal_channels_and_colours_keep_their_place(tmp_path: Path):
    paths = _draw_many(tmp_path)
    grey = _build(paths, tmp_path / "cache")
    assert (_build(paths, tmp_path / "cache", channels=3) == grey).all()
    red = np.zeros((20, 20, 3), np.uint8)
    red[..., 0] = 255
    array = _build([_draw(tmp_path / "a.png", red)], tmp_path / "cache", channels=3)
    assert array.mean(axis=(0, 2, 3)).tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp"])
def test_an_image_is_turned_as_its_exif_tag_says(tmp_path: Path, kind: str):
    image = Image.fromarray(np.zeros((32, 32), np.uint8)).convert("RGB")
    image.paste((255, 255, 255), (0, 0, 32, 8))  # a white bar at the top of what is stored
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: the bar is on the right
    image.save(tmp_path / f"a.{kind}", kind, exif=exif)
    (array,) = _build([str(tmp_path / f"a.{kind}")], tmp_path / "cache", size=8)
    assert array[0, :, -1].min() > 200
    assert array[0, :, 0].max() < 50


def _png(colour: int, samples: int) -> bytes:
    """A PNG image of 16 bits a channel, which Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 16, colour, 0, 0, 0))
    lines = zlib.compress((b"\0" + b"\x12\x34" * 9 * samples) * 9)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def _tiff(bits: int, samples: int, photometric: int, kind: int = 1) -> bytes:
    """An uncompressed TIFF image of 9 by 9 pixels, also of sorts that Pillow does not write."""
    data = bytes(range(81)) * (bits // 8 * samples)
    lists = struct.pack("<6H", *[bits] * 3, *[kind] * 3)
    start = 8 + 2 + 10 * 12 + 4
    tags = [(256, 9), (257, 9), (258, bits), (259, 1), (262, photometric), (273, start + 12)]
    tags += [(277, samples), (278, 9), (279, len(data)), (339, kind)]
    entries = b""
    for tag, value in tags:
        at = {258: start, 339: start + 6}.get(tag)
        if at and samples == 3:
            entries += struct.pack("<HHII", tag, 3, 3, at)
        else:
            entries += struct.pack("<HHII", tag, 4 if tag in {273, 279} else 3, 1, value)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    return head + entries + struct.pack("<I", 0) + lists + data


def _pages() -> bytes:
    file = io.BytesIO()
    pages = [Image.new("L", (9, 9)), Image.new("L", (9, 9), 255)]
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    return file.getvalue()


MISREAD = {
    "a PNG of 16 bits a colour": (_png(2, 3), "16 bits each"),
    "a PNG of 16 bits with alpha": (_png(4, 2), "16 bits each"),
    "a TIFF of 16 bits a colour": (_tiff(16, 3, 2), "16 bits each"),
    "a TIFF of 16 bits whose 0 is white": (_tiff(16, 1, 0), "0 stands for white"),
    "a TIFF of 8 bits with a sign": (_tiff(8, 1, 1, kind=2), "signed"),
    "a TIFF of two pages": (_pages(), "2 pages, expected one"),
}


@pytest.mark.parametrize("case", MISREAD)
@pytest.mark.parametrize("intensity", [None, (0.0, 255.0)])
def test_what_would_be_misread_is_refused_by_name(tmp_path: Path, case: str, intensity):
    content, words = MISREAD[case]
    (tmp_path / "a").write_bytes(content)
    fault = decode_image(str(tmp_path / "a"), Decoding(8, 1, intensity))
    assert str(fault).startswith(f"{tmp_path}/a: ")
    assert words in fault


@pytest.mark.parametrize("content", [_tiff(8, 1, 1), _tiff(8, 3, 2), _tiff(8, 1, 0)])
def test_plain_tiff_is_read(tmp_path: Path, content: bytes):
    (tmp_path / "a").write_bytes(content)
    assert not isinstance(decode_image(str(tmp_path / "a"), Decoding(8, 1)), str)


@pytest.mark.parametrize(
    ("kind", "words"), [(np.float32, "fractions"), (np.int32, "32 bits"), (np.uint16, "16 bits")]
)
def test_pixels_of_unknown_scale_are_refused(tmp_path: Path, kind: type, words: str):
    path = _draw(tmp_path / "a.tiff", np.full((9, 9), 60_000, kind))
    (fault,) = _faults([path], tmp_path / "cache")
    assert words in fault
    assert "state intensity" in fault


def test_all_broken_images_are_named_and_nothing_is_left(tmp_path: Path):
    paths = _draw_many(tmp_path, 6)
    whole = Path(paths[1]).read_bytes()
    Path(paths[1]).write_bytes(whole[: len(whole) // 2])
    Image.new("L", (9, 9)).save(paths[3], "EPS")  # a format that runs another program
    Path(paths[4]).unlink()
    faults = _faults(paths, tmp_path / "cache")
    assert [fault.split(":")[0] for fault in faults] == [paths[1], paths[3], paths[4]]
    for words, fault in zip(("truncated", "no image of", "No such file"), faults, strict=True):
        assert words in fault
    assert _left(tmp_path / "cache") == [".lock"]


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    (fault,) = _faults(_draw_many(tmp_path, 1), tmp_path / "cache")
    assert "exceeds limit" in fault


# What is decoded, and when


def test_images_are_decoded_once_whatever_array_they_are_in(tmp_path: Path, decoded):
    paths = _draw_many(tmp_path, 12)
    whole = _build(paths, tmp_path / "cache")
    assert len(decoded) == 12
    assert _cache(paths, tmp_path / "cache").path.name == Path(whole.filename).name
    assert (_build(paths[7:2:-1], tmp_path / "cache") == whole[7:2:-1]).all()
    assert len(decoded) == 12
    Image.new("L", (9, 9), 255).save(paths[4])
    changed = _build(paths, tmp_path / "cache")
    assert decoded[12:] == [paths[4]]
    assert (changed[4] == 255).all()
    assert (np.delete(changed, 4, 0) == np.delete(whole, 4, 0)).all()
    _build(paths, tmp_path / "cache", size=8)
    assert len(decoded) == 25


def test_the_key_is_that_of_the_pixels(tmp_path: Path):
    paths = _draw_many(tmp_path)
    moved = [shutil.copy(path, tmp_path / f"copy{i}.png") for i, path in enumerate(paths)]

    def key(given: list[str], **how) -> str:
        return _cache(given, tmp_path / "cache", **how).key

    assert key(moved) == key(paths)
    others = [key(paths), key(paths[::-1]), key(paths, size=8), key(paths, channels=3)]
    assert len(set(others)) == 4


@pytest.mark.parametrize("harm", [flip_a_bit, cut_off, lambda path: path.unlink()])
@pytest.mark.parametrize("which", [".npy", ".files"])
def test_what_is_harmed_is_built_again(tmp_path: Path, harm, which: str):
    paths = _draw_many(tmp_path)
    held = _cache(paths, tmp_path / "cache")
    whole = held.path.read_bytes()
    harm(held.path.with_suffix(which))
    subset = _build(paths[1:], tmp_path / "cache")  # never of what is harmed
    assert (subset == _build(paths, tmp_path / "fresh")[1:]).all()
    assert _cache(paths, tmp_path / "cache") == held
    assert held.path.read_bytes() == whole


@pytest.mark.parametrize("limit", [10**6, 300], ids=["broken image", "full disk"])
def test_an_error_leaves_neither_threads_nor_filters_of_warnings(tmp_path: Path, limit: int):
    """Left to the garbage collector, threads were joined in one that had just begun: for ever."""
    paths, filters = _draw_many(tmp_path), list(warnings.filters)
    Path(paths[-1]).write_bytes(b"no image")
    with pytest.raises((InputError, DiskFullError)) as held, filled_disk(limit):
        _build(paths, tmp_path / "cache", size=128)
    assert held.value  # whose traceback keeps what was at work
    assert not [thread for thread in threading.enumerate() if "Pool" in thread.name]
    assert warnings.filters == filters


def test_a_folder_that_cannot_be_made_is_a_fault(tmp_path: Path):
    (tmp_path / "file").touch()
    (fault,) = _faults(_draw_many(tmp_path), tmp_path / "file" / "cache")
    assert "cannot be written" in fault


def test_memory_is_bounded_by_a_block_of_images(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(cache, "BLOCK", 16)
    paths = _draw_many(tmp_path, 40, (16, 16)) * 10
    tracemalloc.start()
    try:
        array = _build(paths, tmp_path / "cache", size=64)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert array.shape == (400, 1, 64, 64)
    assert peak < array.nbytes / 3


def test_what_a_killed_build_left_is_removed(tmp_path: Path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/.of-another-build.partial.npy").touch()
    _build(_draw_many(tmp_path), tmp_path / "cache")
    assert len(_left(tmp_path / "cache")) == 3  # the array, its notes, the lock


# The array


def test_opened_pixels_cannot_be_written(tmp_path: Path):
    array = _build(_draw_many(tmp_path), tmp_path / "cache")
    assert isinstance(array, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_a_pickle_is_not_opened(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        open_pixels(tmp_path / "a.npy")


def test_generated_pixels_are_stored_under_their_content(tmp_path: Path):
    array = RANDOM.integers(0, 256, (4, 1, 8, 8), dtype=np.uint8)
    held = store_pixels(array, tmp_path)
    assert (open_pixels(held.path) == array).all()
    assert store_pixels(array.copy(), tmp_path) == held
    assert store_pixels(array.reshape(2, 2, 8, 8), tmp_path).key != held.key
    array[0, 0, 0, 0] ^= 1
    assert store_pixels(array, tmp_path).key != held.key
