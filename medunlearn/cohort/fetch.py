"""Published files: fetched where that is free, and checked against their published checksums."""

import hashlib
from pathlib import Path

from medunlearn.cohort.decode import tell
from medunlearn.cohort.files import find_folder
from medunlearn.cohort.schema import DataManifest, FileObject
from medunlearn.errors import InputError

TIMEOUT = 30  # seconds without an answer


def fetch_missing(manifest: DataManifest, data_root: Path | None) -> None:
    """Download what the manifest gives an address for and is not there, into the data root.

    Only a whole file with the published checksum gets its name. Nothing is fetched for datasets
    that need an account.

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
        path, (name, expected) = folder / file.name, file.checksum or ("", "")
        if name and path.is_file() and (given := _hash(path, name)) != expected:
            faults.append(
                f"{path}: given {name} {given}; expected {expected}, the published file; get "
                "it again, or write a manifest of your own for this file"
            )
    if faults:
        raise InputError(f"data of {manifest.name}", faults)


def _hash(path: Path, name: str) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, name).hexdigest()


def _fetch(file: FileObject, path: Path) -> None:
    import pooch  # a quarter of a second that others need not pay
    from tqdm import tqdm

    checksum = ":".join(file.checksum) if file.checksum else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tqdm(desc=path.name, total=1, unit="B", unit_scale=True) as bar:
            downloader = pooch.HTTPDownloader(progressbar=bar, timeout=TIMEOUT)
            pooch.retrieve(file.url, checksum, path.name, path.parent, downloader=downloader)
    except (OSError, ValueError) as error:  # of disk and network; of the checksum, named by pooch
        fault = f"{file.url} cannot be downloaded: {tell(error)}; run again, or fetch it by hand, "
        by_hand = f"resuming where it broke off: curl -L -C - -o {path} {file.url}"
        raise InputError(str(path), [fault + by_hand]) from None
