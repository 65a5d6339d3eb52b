import errno
import io
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from medunlearn.cohort import decode, images, pixels
from medunlearn.cohort.decode import Decoding
from medunlearn.cohort.images import PixelCache, build_pixels, open_pixels, shrink, store_pixels
from medunlearn.errors import InputError

RANDOM = np.random.default_rng(0)


def _draw(path: Path, values: np.ndarray) -> str:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(values).save(path)
    return str(path)


def _draw_many(folder: Path, count: int = 5, shape: tuple[int, ...] = (40, 30)) -> list[str]:
    greys = RANDOM.integers(0, 256, (count, *shape), dtype=np.uint8)
    return [_draw(folder / f"{i}.png", grey) for i, grey in enumerate(greys)]


def _cache(paths: list[str], folder: Path, size: int = 16, channels: int = 1, **how) -> PixelCache:
    return build_pixels(paths, folder, Decoding(size, channels, **how), progress=False)


def _build(paths: list[str], folder: Path, size: int = 16, channels: int = 1, **how) -> np.ndarray:
    cache = _cache(paths, folder, size, channels, **how)
    return open_pixels(cache.path)


def _faults(paths: list[str], folder: Path) -> list[str]:
    with pytest.raises(InputError) as error:
        _build(paths, folder)
    return error.value.faults


def _left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*") if path.suffix not in {"", ".sha256"}]


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


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_are_scaled_as_the_manifest_states(tmp_path: Path, kind: str):
    deep = np.tile(np.array([0, 256, 32768, 65535], np.uint16).repeat(8), (32, 1))
    path = _draw(tmp_path / f"a.{kind}", deep)
    whole = _build([path], tmp_path / "cache", size=32, intensity=(0, 65535))
    assert whole[0, 0, 0, ::8].tolist() == [0, 1, 128, 255]
    part = _build([path], tmp_path / "cache", size=32, intensity=(256, 33024))
    assert part[0, 0, 0, ::8].tolist() == [0, 0, 253, 255]


def test_grey_becomes_three_equal_channels_and_comes_back(tmp_path: Path):
    paths = _draw_many(tmp_path)
    grey = _build(paths, tmp_path / "cache")
    colour = _build(paths, tmp_path / "cache", channels=3)
    assert colour.shape == (5, 3, 16, 16)
    assert (colour == grey).all()
    back = [
        _draw(tmp_path / f"{i}c.png", image.transpose(1, 2, 0)) for i, image in enumerate(colour)
    ]
    assert (_build(back, tmp_path / "cache") == grey).all()


def test_colour_channels_keep_their_place(tmp_path: Path):
    red = np.zeros((20, 20, 3), np.uint8)
    red[..., 0] = 255
    array = _build([_draw(tmp_path / "a.png", red)], tmp_path / "cache", channels=3)
    assert (array[0, 0] == 255).all()
    assert (array[0, 1:] == 0).all()


def test_the_same_images_give_the_same_key_and_are_decoded_once(tmp_path: Path, monkeypatch):
    paths = _draw_many(tmp_path)
    first = _cache(paths, tmp_path / "cache")
    moved = [shutil.copy(path, tmp_path / f"copy{i}.png") for i, path in enumerate(paths)]
    monkeypatch.setattr(images, "decode_file", lambda *_, **__: pytest.fail("decoded again"))
    again = _cache(moved, tmp_path / "cache")
    assert again == first


def test_a_changed_byte_order_size_or_channel_gives_another_key(tmp_path: Path):
    paths = _draw_many(tmp_path)

    def key(given: list[str], size: int = 16, channels: int = 1) -> str:
        return _cache(given, tmp_path / "cache", size, channels).key

    keys = [key(paths), key(paths[::-1]), key(paths, size=8), key(paths, channels=3)]
    content = bytearray(Path(paths[0]).read_bytes())
    Path(paths[0]).write_bytes(content + b"\0")
    keys.append(key(paths))
    assert len(set(keys)) == 5


def test_all_broken_images_are_named_and_nothing_is_left(tmp_path: Path):
    paths = _draw_many(tmp_path, 6)
    whole = Path(paths[1]).read_bytes()
    Path(paths[1]).write_bytes(whole[: len(whole) // 2])
    Path(paths[3]).write_text("no image")
    Path(paths[4]).unlink()
    faults = _faults(paths, tmp_path / "cache")
    assert [fault.split(":")[0] for fault in faults] == [paths[1], paths[3], paths[4]]
    assert "truncated" in faults[0]
    assert "no image of" in faults[1]
    assert "No such file" in faults[2]
    assert _left_over(tmp_path / "cache") == []


def test_a_truncated_jpeg_is_named(tmp_path: Path):
    path = tmp_path / "a.jpg"
    Image.fromarray(RANDOM.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    (fault,) = _faults([str(path)], tmp_path / "cache")
    assert "truncated" in fault


def test_a_long_list_of_broken_images_is_cut_short(tmp_path: Path):
    faults = _faults([str(tmp_path / f"{i}.png") for i in range(30)], tmp_path / "cache")
    assert len(faults) == 21
    assert "10 more" in faults[-1]


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch):
    paths = _draw_many(tmp_path, 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    (fault,) = _faults(paths, tmp_path / "cache")
    assert "exceeds limit" in fault


def test_formats_that_run_other_programs_are_not_tried(tmp_path: Path):
    path = tmp_path / "a.png"
    buffer = io.BytesIO()
    Image.new("L", (9, 9)).save(buffer, "EPS")
    path.write_bytes(buffer.getvalue())
    assert "no image of" in _faults([str(path)], tmp_path / "cache")[0]


@pytest.mark.parametrize(
    ("kind", "words"), [(np.float32, "fractions"), (np.int32, "32 bits"), (np.uint16, "16 bits")]
)
def test_pixels_of_unknown_scale_are_refused(tmp_path: Path, kind: type, words: str):
    path = _draw(tmp_path / "a.tiff", np.full((9, 9), 60_000, kind))
    (fault,) = _faults([path], tmp_path / "cache")
    assert words in fault
    assert "state intensity" in fault


def test_an_image_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch):
    paths = _draw_many(tmp_path)
    monkeypatch.setattr(images, "_hash_file", lambda _: "the hash of before")
    assert "changed" in _faults(paths, tmp_path / "cache")[0]


def test_no_image_is_a_fault(tmp_path: Path):
    assert "no image is given" in _faults([], tmp_path / "cache")[0]


def test_a_full_disk_is_told_before_anything_is_decoded(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    monkeypatch.setattr(images, "decode_file", lambda *_, **__: pytest.fail("decoded in vain"))
    (fault,) = _faults(_draw_many(tmp_path), tmp_path / "cache")
    assert "0.0 MB are free" in fault
    assert _left_over(tmp_path / "cache") == []


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch):
    def fill_up(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pixels.os, "fsync", fill_up)
    (fault,) = _faults(_draw_many(tmp_path), tmp_path / "cache")
    assert "No space left on device; free some space" in fault
    assert _left_over(tmp_path / "cache") == []


def test_a_folder_that_cannot_be_made_is_a_fault(tmp_path: Path):
    (tmp_path / "file").touch()
    (fault,) = _faults(_draw_many(tmp_path), tmp_path / "file" / "cache")
    assert "cannot be written" in fault


def test_an_interrupted_build_decodes_only_what_was_not_saved(tmp_path: Path, monkeypatch):
    paths, decoded = _draw_many(tmp_path, 40), []
    monkeypatch.setattr(pixels, "SAVED_EVERY", 8)
    monkeypatch.setattr(images, "BLOCK", 4)
    real = decode.decode_file

    def decode_some(job: tuple[str, str], how: Decoding) -> np.ndarray:
        if job[0] == paths[25] and len(decoded) < 30:
            raise KeyboardInterrupt
        decoded.append(job[0])
        return real(job, how)

    monkeypatch.setattr(images, "decode_file", decode_some)
    with pytest.raises(KeyboardInterrupt):
        _build(paths, tmp_path / "cache")
    first, decoded[:] = len(decoded), [""] * 30
    monkeypatch.setattr(images, "_hash_file", lambda _: pytest.fail("hashed again"))
    array = _build(paths, tmp_path / "cache")
    assert 24 <= first < 40
    assert sorted(decoded[30:]) == sorted(paths[24:])
    monkeypatch.undo()
    assert (array == _build(paths, tmp_path / "fresh")).all()
    assert len(_left_over(tmp_path / "cache")) == 1


@pytest.mark.parametrize("spoil", ["cut", "longer", "another shape", "one bit"])
def test_a_spoilt_cache_is_built_again_and_a_killed_build_cleared_away(tmp_path: Path, spoil: str):
    paths = _draw_many(tmp_path)
    cache = _cache(paths, tmp_path / "cache")
    whole = cache.path.read_bytes()
    other = io.BytesIO()
    np.save(other, np.zeros((1, 1, 16, 16), np.uint8))
    flipped = bytes([*whole[:-9], whole[-9] ^ 1, *whole[-8:]])
    spoilt = {
        "one bit": flipped,
        "cut": whole[:-10],
        "longer": whole + b"more",
        "another shape": other.getvalue(),
    }
    cache.path.write_bytes(spoilt[spoil])
    (tmp_path / "cache" / "dead.partial").touch()
    assert _cache(paths, tmp_path / "cache") == cache
    assert cache.path.read_bytes() == whole
    assert _left_over(tmp_path / "cache") == [cache.path.name]


def test_opened_pixels_cannot_be_written(tmp_path: Path):
    array = _build(_draw_many(tmp_path), tmp_path / "cache")
    assert isinstance(array, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


@pytest.mark.parametrize(
    "array",
    [np.array([{}], dtype=object), np.zeros((2, 1, 4, 4), np.float32), np.zeros(3, np.uint8)],
)
def test_pickles_and_other_arrays_are_not_opened(tmp_path: Path, array: np.ndarray):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match="delete the file"):
        open_pixels(tmp_path / "a.npy")


def test_generated_pixels_are_stored_under_their_content(tmp_path: Path):
    array = RANDOM.integers(0, 256, (4, 1, 8, 8), dtype=np.uint8)
    cache = store_pixels(array, tmp_path)
    assert (open_pixels(cache.path) == array).all()
    assert store_pixels(array.copy(), tmp_path) == cache
    assert store_pixels(array.reshape(2, 2, 8, 8), tmp_path).key != cache.key
    array[0, 0, 0, 0] ^= 1
    assert store_pixels(array, tmp_path).key != cache.key


def test_generated_pixels_of_another_type_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="float64"):
        store_pixels(np.zeros((1, 1, 8, 8)), tmp_path)


def test_generated_and_decoded_images_shrink_alike(tmp_path: Path):
    greys = RANDOM.integers(0, 256, (3, 64, 64), dtype=np.uint8)
    paths = [_draw(tmp_path / f"{i}.png", grey) for i, grey in enumerate(greys)]
    assert (shrink(greys[:, None], 32) == _build(paths, tmp_path / "cache", size=32)).all()


def test_nothing_is_enlarged():
    array = np.zeros((2, 3, 16, 16), np.uint8)
    assert shrink(array, 16) is array
    with pytest.raises(ValueError, match="32"):
        shrink(array, 32)
