"""How a draft finds the image of each row: folders, column, and rules for paths of elsewhere."""

import pandas as pd

from medunlearn.cohort.first_manifest.columns import free_name
from medunlearn.cohort.first_manifest.draft import Draft, fill_in, quote
from medunlearn.cohort.first_manifest.locate import Located, part_pattern


def put_image_column(
    draft: Draft,
    images: str,
    located: Located | None,
    frame: pd.DataFrame,
    files: dict[str, str],
) -> set[str]:
    """Folders, the image column and its suffix; gives the columns that are used up."""
    if located is None:
        draft.put("images", [images])
        some = quote(list(files)[:3])
        draft.put(
            "columns.image",
            fill_in("the column of image names"),
            f"no column names the files ({some}, ...); columns: {quote(frame.columns)}",
        )
        return set()
    folders = [f"{images}/{f}" if images != "." else f for f in located.folders]
    folders = [images if f == "." else f.removesuffix("/.") for f in folders]
    # of doubled names the folders that were seen first are nobody's in particular
    draft.put("images", [images] if located.doubled else folders)
    draft.put("image_suffix", located.suffix)
    if located.suffixes:
        draft.notes["image_suffix"] = (
            f"other files end with {quote(located.suffixes)}: not found so"
        )
    if located.doubled:
        draft.put(
            "columns.image",
            fill_in("the column of image paths below the folder"),
            f"{located.column!r} names files but does not tell which: {quote(located.doubled)} "
            "lie in several folders or end several paths. Give the folder of the images alone, "
            "or put a path together of columns under derive, as "
            "{column: file_path, rule: compose, template: '{patient}/{file}'}",
        )
        return {located.column}
    column = _put_ends(draft, located, frame) if located.parts else located.column
    note = f"guessed: names files in {located.found} of {len(frame)} rows"
    if located.others:
        note += f"; others that do: {quote(located.others)}"
    draft.put("columns.image", column, note)
    return {located.column}


def _put_ends(draft: Draft, located: Located, frame: pd.DataFrame) -> str:
    """Rules for the last parts of paths, whichever slash is between them; gives their column."""
    names = [free_name("file_name", frame)]
    names += [free_name(f"folder_{part}", frame) for part in range(1, located.parts)]
    note = f"guessed: paths in {located.column!r} lead elsewhere; their ends are looked for"
    for part, name in enumerate(names, start=1):
        rule = {"column": name, "rule": "extract", "source": located.column}
        draft.add("derive", rule | {"pattern": part_pattern(part)}, note if part == 1 else "")
    if located.parts == 1:
        return names[0]
    column = free_name("file_path", frame)
    template = "/".join(f"{{{name}}}" for name in reversed(names))
    draft.add("derive", {"column": column, "rule": "compose", "template": template})
    return column
