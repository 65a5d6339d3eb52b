"""A draft for images with a table: which column is what, and how file names are made of it."""

import pandas as pd

from medunlearn.cohort.first_manifest.columns import (
    AGE,
    free_name,
    guess_age,
    guess_classes,
    guess_findings,
    guess_patient,
    guess_sex,
    guess_split,
    guess_unit,
    list_candidates,
    list_ids,
)
from medunlearn.cohort.first_manifest.draft import Draft, fill_in, quote
from medunlearn.cohort.first_manifest.image_column import put_image_column
from medunlearn.cohort.first_manifest.locate import Located, locate_images
from medunlearn.cohort.first_manifest.looks import look_at_images
from medunlearn.errors import InputError


def propose_table(
    draft: Draft, images: str, files: dict[str, str], frame: pd.DataFrame, table: str
) -> None:
    """Fields for kind ``table``.

    Args:
        draft: Gets them.
        images: The folder of the images below the dataset's.
        files: Path below that folder to absolute path.
        frame: The table as text.
        table: Its path below the dataset's folder.

    Raises:
        InputError: No image that is looked at can be read.
    """
    draft.put("table", [table])
    located = locate_images(frame, list(files))
    taken = put_image_column(draft, images, located, frame, files)
    sure = located is not None and not located.doubled
    taken |= put_people(draft, frame, taken, located if sure else None)
    put_label(draft, frame, taken)
    patient = draft.fields["columns"]["patient"]
    if patient in frame and (part := guess_split(frame, frame[patient], taken)):
        draft.put(
            "split",
            {"column": part[0], "mapping": part[1]},
            "guessed: an official split; without these lines patients are drawn",
        )
    put_looks(draft, files)


def put_looks(draft: Draft, files: dict[str, str]) -> None:
    """How images are read.

    Raises:
        InputError: None that is looked at can be read.
    """
    looks = look_at_images(files)
    if "image_size" not in looks.fields:
        seen = ", ".join(looks.broken[:5])
        fault = f"none of the images looked at can be read ({seen}); give whole images"
        raise InputError("new-manifest", [fault])
    for name, value in looks.fields.items():
        draft.put(name, value, looks.notes[name])
    if looks.broken:
        draft.notes["channels"] += f"; {len(looks.broken)} cannot be read: {quote(looks.broken)}"


def put_people(
    draft: Draft,
    frame: pd.DataFrame,
    taken: set[str],
    located: Located | None,
    *,
    patient: bool = True,
) -> set[str]:
    """Patient (if asked for), sex and age; gives the columns that are used up."""
    used: set[str] = set()
    sex = guess_sex(frame, taken)
    if sex:
        used.add(sex.column)
    age = guess_age(frame, taken | used)
    if age:
        used.add(age[0])
    if patient:
        used |= _put_patient(draft, frame, taken | used, located)
    if sex:
        draft.put(
            "columns.sex",
            sex.column,
            "guessed" + (f"; others: {quote(sex.others)}" if sex.others else ""),
        )
        counts = frame[sex.column].value_counts()
        seen = ", ".join(f"{quote([word])} in {n} rows" for word, n in counts[:8].items())
        if sex.female and sex.male:
            known = {"F": sex.female, "M": sex.male, "missing": sex.missing}
            meant = f"{quote(sex.female)} = female, {quote(sex.male)} = male"
            draft.put("sex", known, f"guessed: {seen}; {meant}")
        else:
            words: dict[str, object] = {
                "F": sex.female or fill_in("the words for female"),
                "M": sex.male or fill_in("the words for male"),
            }
            draft.put(
                "sex",
                words,
                f"not clear: {seen}; list words that mean neither as missing, "
                "or leave sex and columns.sex out",
            )
    else:
        draft.notes["columns.sex"] = "no column tells the sex: claims on the sexes are not tested"
    if age and age[1]:
        column = free_name("years", frame)
        rule = {"column": column, "rule": "extract", "source": age[0], "pattern": AGE}
        draft.add("derive", rule | {"unmatched": "empty"}, f"guessed: years in {age[0]!r}")
    if age:
        draft.put("columns.age", column if age[1] else age[0], "guessed: years")
    return used


def _put_patient(
    draft: Draft, frame: pd.DataFrame, taken: set[str], located: Located | None
) -> set[str]:
    likely = guess_patient(frame, taken)
    others = list_ids(frame, taken)
    if likely:
        count = frame[likely[0]].nunique()
        rest = [name for name in dict.fromkeys([*likely, *others]) if name != likely[0]]
        note = f"guessed: {count} different in {len(frame)} rows"
        note += f"; others: {quote(rest)}" if rest else ""
        draft.put("columns.patient", likely[0], note)
        draft.put("unit", guess_unit(likely[0]), "guessed: what columns.patient identifies")
        return {likely[0]}
    if others or located is None:
        draft.put(
            "columns.patient",
            fill_in("the column of patient ids"),
            f"images of a patient must stay together; might be: {quote(others) or 'none'}; "
            "if every image is of another patient, put the image column here",
        )
        return set()
    draft.put(
        "columns.patient",
        draft.fields["columns"]["image"],
        "guessed: no column tells the patient, so each image counts as one. If a patient "
        "has several, they are torn apart: add a column, or derive one from the file's name",
    )
    draft.put("unit", "image", "guessed: no column tells the patient")
    return set()


def put_label(draft: Draft, frame: pd.DataFrame, taken: set[str]) -> None:
    """The label rule."""
    classes, candidates = guess_classes(frame, taken), list_candidates(frame, taken)
    findings = None if classes else guess_findings(frame, taken)
    if classes:
        counts = frame[classes.column].value_counts()
        seen = ", ".join(f"{quote([v])} in {counts[v]} rows" for v in list(classes.mapping)[:20])
        note = f"guessed: {seen}"
        note += f"; others: {quote(classes.others)}" if classes.others else ""
        names = list(dict.fromkeys(classes.mapping.values()))
        rule = {
            "rule": "values",
            "column": classes.column,
            "classes": names,
            "reference_class": classes.reference,
            "mapping": classes.mapping,
        }
        if classes.empty:
            draft.add(
                "filters",
                {"column": classes.column, "rule": "one_of", "value": list(classes.mapping)},
                f"guessed: {classes.empty} rows without a label are left out",
            )
    elif findings:
        rule = {
            "rule": "equals",
            "column": findings[0],
            "value": findings[1],
            "classes": ["nothing", "finding"],
            "reference_class": "nothing",
        }
        note = f"guessed: {quote([findings[1]])} against anything else; see rule contains"
    else:
        rule = {
            "rule": "values",
            "column": fill_in("the column of the label"),
            "classes": ["negative", "positive"],
            "reference_class": "negative",
            "mapping": {
                fill_in("its value for negative"): "negative",
                fill_in("its value for positive"): "positive",
            },
        }
        note = f"several columns might be the label, or none: {quote(candidates or frame.columns)}"
    for name, value in rule.items():
        draft.put(f"label.{name}", value)
    draft.notes["label.column"] = note
    if classes:
        draft.notes["label.reference_class"] = "guessed: the class that counts as negative"
