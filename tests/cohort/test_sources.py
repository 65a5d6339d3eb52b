"""Sources beside the table with images: arrays, folders, joined tables, derived columns, splits."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medunlearn.cohort.labels import MentionsLabel
from medunlearn.cohort.listings import SPLITS
from medunlearn.cohort.manifest import load_manifest
from medunlearn.cohort.partition import TEST, TRAIN
from medunlearn.errors import InputError
from tests.cohort.conftest import read_rows


def read(manifest: str, tmp_path: Path) -> pd.DataFrame:
    return read_rows(load_manifest(manifest), tmp_path / "data")


def faults(manifest: str, tmp_path: Path) -> list[str]:
    with pytest.raises(InputError) as error:
        read(manifest, tmp_path)
    return error.value.faults


def test_arrays_keep_images_labels_and_their_order(lay_out, write_manifest, build):
    folder = lay_out("arrays")
    cohort = build(write_manifest("arrays"))
    published = np.load(folder / "data.npz")
    assert len(cohort.table) == 52
    assert cohort.table["sex"].isna().all()
    assert cohort.table["patient"].is_unique
    for row in cohort.table.itertuples():
        split, number = row.source_image.split("/")
        assert (cohort.pixels[row.sample, 0] == published[f"{split}_images"][int(number)]).all()
        assert row.label == published[f"{split}_labels"][int(number), 0]


@pytest.mark.parametrize("limit", [None, 9])
def test_rows_in_another_order_than_the_file_get_their_own_images(
    lay_out, write_manifest, build, limit
):
    folder = lay_out("arrays")
    published = np.load(folder / "data.npz")
    names = [f"{s}/{n:07d}" for s in SPLITS for n in range(len(published[f"{s}_images"]))]
    random = np.random.default_rng(1).integers(0, 13, len(names))
    (folder / "who.csv").write_text(
        "image,who\n" + "".join(f"{n},P{p:02d}\n" for n, p in zip(names, random, strict=True))
    )
    manifest = write_manifest(
        "arrays", columns={"image": "image", "patient": "who"}, unit="patient",
        joins=[{"table": "who.csv", "by": "image", "columns": ["who"]}],
        label={"rule": "values", "column": "split", "classes": ["a", "b"], "reference_class": "a",
               "mapping": {"train": "a", "val": "b", "test": "b"}},
    )  # fmt: skip
    cohort = build(manifest, max_patients=limit)
    for name, pixels in zip(cohort.table["source_image"], cohort.pixels, strict=True):
        split, number = name.split("/")
        assert (pixels[0] == published[f"{split}_images"][int(number)]).all()


@pytest.mark.parametrize("link", ["folder", "file"])
def test_a_file_that_links_lead_to_again_counts_once(lay_out, write_manifest, build, link):
    folder = lay_out("files")
    if link == "folder":
        (folder / "sick/again").symlink_to("..")
    else:
        (folder / "sick/again.png").symlink_to("1.png")
    table = build(write_manifest("files")).table
    assert len(table) == table["patient"].nunique() == 24  # each image is its own unit
    assert set(table["source_image"].str.split("/").str[0]) == {"well", "sick"}
    assert (table["label"] == table["source_image"].str.startswith("sick")).all()


def test_a_table_that_names_a_file_twice_by_a_link_is_refused(lay_out, write_manifest, tmp_path):
    (lay_out("table") / "images/1.png").unlink()
    (tmp_path / "data/mine/images/1.png").symlink_to("0.png")
    assert "this image has a row already" in faults(write_manifest("table"), tmp_path)[0]


@pytest.mark.parametrize("source", ["table", "files", "dicom"])
def test_a_link_out_of_the_root_is_followed_if_the_manifest_names_it(
    lay_out, write_manifest, build, tmp_path, source
):
    folder = lay_out(source)
    name = {"table": "mine/images", "files": "mine/sick", "dicom": "mine"}[source]
    (folder.parent / name).rename(tmp_path / "elsewhere")
    (folder.parent / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"is a link out of .* links_outside"):
        build(write_manifest(source))
    with pytest.raises(InputError, match="is a link out of"):
        build(write_manifest(source, links_outside=["mine/other"]))
    assert len(build(write_manifest(source, links_outside=[name])).table) >= 20


def test_the_datasets_own_folder_in_place_of_its_parent_is_told(lay_out, write_manifest):
    folder = lay_out("table")
    with pytest.raises(InputError, match=f"pass its parent, DATA={folder.parent}"):
        read_rows(load_manifest(write_manifest("table")), folder)


def test_the_official_split_of_arrays_is_kept(lay_out, write_manifest, build):
    lay_out("arrays")
    mapping = {"train": "train", "val": "validation", "test": "test"}
    split = {"column": "split", "mapping": mapping}
    table = build(write_manifest("arrays", split=split)).table
    official = table["source_image"].str.split("/").str[0]
    assert (official[table["partition"] == TRAIN] == "train").all()
    assert (official == "train").sum() == (table["partition"] == TRAIN).sum()
    assert (official[table["partition"] == TEST] == "test").all()
    counts = table["partition"].value_counts()
    assert counts["validation_method"] == counts["validation_evaluation"] == 6
    assert "split" not in table


@pytest.mark.parametrize(
    ("uncertain", "unmentioned", "expected"),
    [
        ("zeros", "zeros", [0, 0, 0, 1, 1]),
        ("ones", "zeros", [0, 1, 0, 1, 1]),
        ("ignore", "zeros", [0, -1, 0, 1, 1]),
        ("zeros", "ignore", [0, 0, -1, 1, 1]),
    ],
)
def test_findings_follow_the_policy_and_one_present_decides(uncertain, unmentioned, expected):
    cells = {"a": ["0.0", "-1.0", "", "1.0", "-1"], "b": ["0", "0", "0", "", "1"]}
    label = MentionsLabel(
        rule="mentions", columns=["a", "b"], uncertain=uncertain, unmentioned=unmentioned,
        classes=("no", "yes"), reference_class="no",
    )  # fmt: skip
    wrong = []
    assert label.code(pd.DataFrame(cells, dtype="str"), wrong).fillna(-1).tolist() == expected
    assert not any(len(kind.cells) for kind in wrong)


def test_a_finding_among_joined_ones_is_found_whole(lay_out, write_manifest, tmp_path):
    folder = lay_out("table")
    table = folder / "table.csv"
    text = table.read_text().replace(",well", ",mass effect|cyst").replace(",sick", ",cyst|mass")
    table.write_text(text)
    label = {
        "rule": "contains", "column": "state", "separator": "|", "value": ["mass", "absent"],
        "classes": ["no", "yes"], "reference_class": "no",
    }  # fmt: skip
    found = read(write_manifest("table", label=label), tmp_path)
    number = found["source_image"].str.removesuffix(".png").astype(int)
    assert (found["label"] == number // 2 % 2).all()


@pytest.fixture
def split_lists(lay_out):
    folder = lay_out("table")
    names = [f"{number}.png" for number in range(20)]
    (folder / "train.txt").write_text("\n".join(names[:14]) + "\n")
    (folder / "test.txt").write_text("\n".join(names[14:]))
    return folder


LISTS = {"column": "file", "lists": {"train.txt": "train+validation", "test.txt": "test"}}


@pytest.mark.usefixtures("split_lists")
def test_lists_of_an_official_split_are_followed(write_manifest, build):
    table = build(write_manifest("table", split=LISTS)).table
    number = table["source_image"].str.removesuffix(".png").astype(int)
    assert ((table["partition"] == TEST) == (number >= 14)).all()
    assert table["partition"].value_counts().to_dict() == {
        "train": 7, "validation_method": 3, "validation_evaluation": 4, "test": 6,
    }  # fmt: skip


def test_an_image_in_no_list_and_an_entry_in_two_are_faults(split_lists, write_manifest, tmp_path):
    manifest = write_manifest("table", split=LISTS)
    (split_lists / "test.txt").write_text("14.png\n")
    assert "row 17: given '15.png'; expected it in one of" in faults(manifest, tmp_path)[0]
    (split_lists / "test.txt").write_text("13.png\n14.png\n")
    assert "'13.png' (1 in all) is in another list too" in faults(manifest, tmp_path)[0]


class Handler(BaseHTTPRequestHandler):
    """Serves one file; breaks off after some bytes if told so."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content[: self.server.breaks_at])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(lay_out):
    path = lay_out("arrays") / "data.npz"
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.breaks_at = path.read_bytes(), None
    path.unlink()
    path.parent.rmdir()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def address(server: HTTPServer, **more: str) -> list[dict[str, str]]:
    url = f"http://127.0.0.1:{server.server_port}/data.npz"
    return [{"name": "data.npz", "contentUrl": url} | more]


@pytest.mark.parametrize("published", [True, False])
def test_a_file_is_downloaded_once_and_whole_or_not_at_all(
    server, write_manifest, build, tmp_path, published
):
    server.breaks_at = 1000
    more = {"md5": hashlib.md5(server.content).hexdigest()} if published else {}
    manifest = write_manifest("arrays", distribution=address(server, **more))
    with pytest.raises(InputError, match=r"curl -L -C - -o .*data\.npz"):
        build(manifest)
    assert not list((tmp_path / "data/mine").iterdir())
    server.breaks_at = None
    assert len(build(manifest).table) == 52
    server.shutdown()
    assert len(build(manifest).table) == 52


def test_a_download_with_another_checksum_is_refused(server, write_manifest, build, tmp_path):
    manifest = write_manifest("arrays", distribution=address(server, md5="1" * 32))
    with pytest.raises(InputError, match="1" * 32) as error:
        build(manifest)
    assert hashlib.md5(server.content).hexdigest() in str(error.value)
    assert not list((tmp_path / "data").rglob("*.npz"))
