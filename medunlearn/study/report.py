"""The report: the executed synthesis as one page, with its text and outputs, and without code."""

import base64
import json
import re
import subprocess
from collections.abc import Mapping
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from PIL import Image

from medunlearn import __version__
from medunlearn.disk import written_whole
from medunlearn.study.study import PROJECT

WIDE = 850
"""Pixels of a figure that is more than a panel."""

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">\
<meta name="viewport" content="width=device-width, initial-scale=1">\
<title>medunlearn: report</title><style>{style}</style></head>\
<body><main>{body}</main></body></html>
"""


def write_html(notebook: Path, path: Path) -> None:
    """Make the page of an executed notebook: its text and its outputs, but no code.

    Cells tagged ``notebook`` are left out, and so is what cells print: progress and paths.

    Args:
        notebook: An executed notebook.
        path: Gets the HTML, whole, with all figures and the style inside.
    """
    cells = json.loads(notebook.read_text())["cells"]
    shown = [cell for cell in cells if "notebook" not in cell["metadata"].get("tags", [])]
    style = Path(__file__).with_name("report.css").read_text()
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        page = PAGE.format(style=style, body="\n".join(map(_html, shown)))
        partial.write_text(page, encoding="utf-8")


def _html(cell: Mapping[str, Any]) -> str:
    """A cell's text, or what it displayed."""
    if cell["cell_type"] == "markdown":
        return _text(cell["source"])
    made = "".join(map(_output, cell.get("outputs", [])))
    return f'<div class="outputs">{made}</div>' if made else ""


def _output(output: Mapping[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        png = lighten("".join(data["image/png"]).strip())
        kind = ' class="wide"' if Image.open(BytesIO(base64.b64decode(png))).width > WIDE else ""
        alternative = escape(output["metadata"].get("image/png", {}).get("alt", ""))
        return f'<img{kind} alt="{alternative}" src="data:image/png;base64,{png}">'
    if "text/markdown" in data:
        return f"<div>{_text(data['text/markdown'])}</div>"
    html = "".join(data.get("text/html", ""))
    return f'<div class="scroll">{html}</div>' if html.startswith("<div>") else html


def _text(markdown: str | list[str]) -> str:
    from nbconvert.filters import markdown2html  # a second to import

    html: str = re.sub('<a class="anchor-link".*?</a>', "", markdown2html("".join(markdown)))
    return html.replace("<p><strong>Figure", '<p class="caption"><strong>Figure')


def lighten(png: str) -> str:
    """A figure with 256 colours where that is smaller, as base64: copies are for reading."""
    figure, lighter = Image.open(BytesIO(base64.b64decode(png))), BytesIO()
    fewer = figure.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    fewer.save(lighter, "PNG", optimize=True)
    return min(png, base64.b64encode(lighter.getvalue()).decode(), key=len)


def code_version() -> str:
    """The package's version, with the commit where the project is a git repository."""
    describe = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(describe, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__} ({found})"


def data_dictionary(folder: Path) -> pd.DataFrame:
    """What is in each CSV file of the report, with a link to it.

    Args:
        folder: Of the report.
    """
    known = yaml.safe_load(Path(__file__).with_name("columns.yaml").read_text())
    rows = []
    for path in sorted(folder.glob("*.csv")):
        file = f'<a href="{path.name}">{path.name}</a>'
        rows.append((file, "", known["files"].get(path.stem, "-")))
        columns = map(str, pd.read_csv(path, nrows=0))
        rows += [("", column, known["columns"].get(column, "-")) for column in columns]
    return pd.DataFrame(rows, columns=["file", "column", "meaning"]).set_index("file")
