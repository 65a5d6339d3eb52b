"""Drafts for DICOM files: what their headers say, and a table that is joined to them."""

from collections.abc import Sequence

import pandas as pd

from medunlearn.cohort.dicom import read_headers
from medunlearn.cohort.files import Places
from medunlearn.cohort.first_manifest.draft import Draft, fill_in, quote
from medunlearn.cohort.first_manifest.listings import put_levels, read_levels
from medunlearn.cohort.first_manifest.locate import locate_images
from medunlearn.cohort.first_manifest.looks import TAGS, look_at_headers
from medunlearn.cohort.first_manifest.tables import put_label, put_people
from medunlearn.cohort.manifest import FILL_IN

STEM = r"([^/]+?)(?:\.(?:dcm|DCM|dicom|ima|IMA))?$"


def propose_dicom(
    draft: Draft,
    places: Places,
    images: str,
    files: dict[str, str],
    frame: pd.DataFrame | None,
    table: str,
) -> None:
    """Fields for kind ``dicom``, whose rows come from headers and perhaps a joined table.

    Args:
        draft: Gets them.
        places: Where the files are.
        images: The folder of the images below the dataset's.
        files: Path below that folder to absolute path.
        frame: The table as text, if there is one.
        table: Its path below the dataset's folder.

    Raises:
        InputError: A file cannot be read, or the table fits no file.
    """
    draft.put("kind", "dicom")
    draft.put("images", [images])
    headers = read_headers(places, TAGS)[0].frame
    draft.put("columns.image", "file")
    patients = headers["PatientID"][headers["PatientID"] != ""]
    count = patients.nunique()
    if count > 1:
        note = f"guessed: {count} different in {len(headers)} headers"
        draft.put("columns.patient", "PatientID", note)
    else:
        draft.put(
            "columns.patient",
            fill_in("what identifies the patient"),
            "PatientID is one in all headers; derive it from file, or give a table",
        )
    own = draft.fields["columns"]["patient"]
    header_people = headers[["PatientSex", "PatientAge"]]
    key = find_key(headers, frame, list(files)) if frame is not None else None
    levels = read_levels(list(files))
    if frame is not None and key:
        _put_join(draft, frame, table, key)
        ours, theirs, _ = key
        taken = {theirs} | put_people(draft, frame, {theirs}, None)
        by_patient = ours == "PatientID" or FILL_IN in draft.fields["columns"]["patient"]
        if by_patient:
            draft.put("columns.patient", own, "guessed: of the headers")
            draft.put("unit", "patient")
        put_label(draft, frame, taken)
    else:
        if frame is not None:
            draft.notes["joins"] = (
                f"no column of {table} names files as they lie here, each name once, or holds "
                f"PatientID: not used; columns: {quote(frame.columns)}"
            )
        if levels.classes is not None:
            put_levels(draft, levels._replace(patient=None))
        else:
            put_label(draft, pd.DataFrame({"none": [""]}), {"none"})
            draft.notes["label.column"] = "headers tell no label: give a table as TABLE"
    if "sex" not in draft.fields or FILL_IN in str(draft.fields["sex"]):
        _put_header_people(draft, header_people)
    _join_used(draft, frame, key)
    looks = look_at_headers(headers)
    for name, value in looks.fields.items():
        draft.put(name, value, looks.notes[name])


def _put_header_people(draft: Draft, people: pd.DataFrame) -> None:
    """Sex, and age if the table tells none, from the headers."""
    draft.fields.pop("sex", None)
    draft.fields["columns"].pop("sex", None)
    age = draft.fields["columns"].get("age")
    shown = people if age is None else people[["PatientSex"]]
    put_people(draft, shown.assign(PatientID=""), {"PatientID"}, None, patient=False)


def find_key(
    headers: pd.DataFrame, frame: pd.DataFrame, files: Sequence[str]
) -> tuple[str, str, str] | None:
    """Our column, the table's, and the pattern that makes ours of ``file`` (empty: a header tag).

    A column of image names is better than one of patients, whose rows may repeat.
    """
    located = locate_images(frame, files)
    sure = located is not None and not located.parts and not located.doubled
    if located and sure and frame[located.column].is_unique:
        names = set(located.names)
        if names & set(files):
            return "file", located.column, ""
        whole = names & {name.rsplit("/", 1)[-1] for name in files}
        return "image_key", located.column, r"([^/]+)$" if whole else STEM
    for tag in ("SOPInstanceUID", "PatientID"):
        values = set(headers[tag]) - {""}
        shares = {str(name): len(values & set(frame[name])) / max(1, len(values)) for name in frame}
        best = max(shares, key=lambda name: shares[name])
        if shares[best] >= 0.5:
            return tag, best, ""
    return None


def _put_join(draft: Draft, frame: pd.DataFrame, table: str, key: tuple[str, str, str]) -> None:
    ours, theirs, pattern = key
    if pattern:
        draft.add(
            "derive",
            {"column": ours, "rule": "extract", "source": "file", "pattern": pattern},
            "guessed: the table names files so",
        )
    draft.add(
        "joins",
        {"table": [table], "by": {ours: theirs}, "columns": []},
        f"guessed: {theirs!r} of the table is {ours!r} of {len(frame)} rows",
    )


def _join_used(draft: Draft, frame: pd.DataFrame | None, key: tuple[str, str, str] | None) -> None:
    """Name the columns of the table that the draft uses."""
    if frame is None or not key:
        return
    columns, label = draft.fields["columns"], draft.fields["label"]
    wanted = [columns["patient"], columns.get("sex"), columns.get("age"), label["column"]]
    wanted += [rule["source"] for rule in draft.fields.get("derive", [])]
    used = [n for n in dict.fromkeys(wanted) if n in frame and n != key[1]]
    draft.fields["joins"][0]["columns"] = used or [label["column"]]
