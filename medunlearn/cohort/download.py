"""Published files: fetched where that is free, and checked against their published checksums."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from medunlearn.cohort.files import find_folder
from medunlearn.cohort.schema import DataManifest, FileObject
from medunlearn.errors import InputError

TIMEOUT = 30  # seconds without an answer
CHUNK = 2**20  # bytes


def fetch_missing(manifest: DataManifest, data_root: Path | None) -> None:
    """Download what the manifest gives an address for and is not there, into the data root.

    A download that broke off is resumed where the server allows it, and only a whole file with the
    published checksum gets its name. Nothing is fetched for datasets that need an account.

    Raises:
        InputError: No network, not the published file, or no space; with the way to do it by hand.
    """
    free = [file for file in manifest.distribution if file.url]
    if not free or data_root is None or not data_root.expanduser().is_dir():
        return
    root, folder = find_folder(manifest, data_root)
    for file in free:
        if folder is None or not (folder / file.name).is_file():
            _fetch(file, root / manifest.folders[0] / file.name)


def verify_files(manifest: DataManifest, data_root: Path | None) -> None:
    """Compare the published checksums with those of the files that are there.

    Raises:
        InputError: A file is another one; both sums are named.
    """
    _, folder = find_folder(manifest, data_root)
    if folder is None:
        return
    faults = []
    for file in manifest.distribution:
        path = folder / file.name
        if file.checksum and path.is_file():
            name, expected = file.checksum
            with path.open("rb") as content:
                given = hashlib.file_digest(content, name).hexdigest()
            if given != expected:
                faults.append(
                    f"{path}: given {name} {given}; expected {expected}, the published file; get "
                    "it again, or write a manifest of your own for this file"
                )
    if faults:
        raise InputError(f"data of {manifest.name}", faults)


def _fetch(file: FileObject, path: Path) -> None:
    import pooch  # a quarter of a second that others need not pay
    import requests

    by_hand = f"or download {file.url} elsewhere and put it there as {path}"
    checksum = ":".join(file.checksum) if file.checksum else None
    unfinished = path.with_name(f".{path.name}.download")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not path.is_file():
                pooch.retrieve(
                    file.url,
                    checksum,
                    fname=path.name,
                    path=path.parent,
                    downloader=_resume_into(unfinished),
                )
                unfinished.unlink(missing_ok=True)
    except ValueError as error:  # pooch names the sums
        unfinished.unlink(missing_ok=True)
        fault = f"{file.url}: {error}; expected the published file; try again later, {by_hand}"
        raise InputError(str(path), [fault]) from None
    except (requests.RequestException, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        fault = f"cannot be downloaded: {reason}; run the same command again to resume, {by_hand}"
        raise InputError(str(path), [fault]) from None


def _resume_into(unfinished: Path) -> Callable[[str, str, Any], None]:
    """A downloader for pooch that goes on where an earlier one broke off."""
    import requests
    from tqdm import tqdm

    def download(url: str, output: str, _: Any) -> None:
        done = unfinished.stat().st_size if unfinished.is_file() else 0
        headers = {"Range": f"bytes={done}-"} if done else {}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416:  # nothing is left to send
                shutil.copyfile(unfinished, output)
                return
            answer.raise_for_status()
            resumed = answer.status_code == 206
            length = answer.headers.get("Content-Length")
            total = int(length) + (done if resumed else 0) if length else None
            with (
                unfinished.open("ab" if resumed else "wb") as file,
                tqdm(total=total, initial=done if resumed else 0, unit="B", unit_scale=True,
                     desc=unfinished.name) as bar,
            ):  # fmt: skip
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
        if total is not None and unfinished.stat().st_size != total:
            raise OSError(f"broke off after {unfinished.stat().st_size:,} of {total:,} bytes")
        shutil.copyfile(unfinished, output)

    return download
