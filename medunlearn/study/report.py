"""The report: the executed synthesis as one page, without code; and copies of notebooks."""

import base64
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from medunlearn import __version__
from medunlearn.disk import written_whole
from medunlearn.study.study import PROJECT

WIDE = 850
"""Pixels of a figure that is more than a panel."""


def write_html(notebook: Path, path: Path) -> None:
    """Make the page of an executed notebook: its text and its outputs, but no code.

    Cells tagged ``notebook`` are left out, and so is what cells print: progress and paths.

    Args:
        notebook: An executed notebook.
        path: Gets the HTML, whole, with all figures and the style inside.
    """
    cells = json.loads(notebook.read_text())["cells"]
    shown = [cell for cell in cells if "notebook" not in cell["metadata"].get("tags", [])]
    body = "\n".join(part for cell in shown for part in _parts(cell))
    style = Path(__file__).with_name("report.css").read_text()
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>medunlearn: report</title><style>{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        partial.write_text(page, encoding="utf-8")


def code_version() -> str:
    """The package's version, with the commit where the project is a git repository."""
    describe = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(describe, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__} ({found})"


def _parts(cell: Mapping[str, Any]) -> Iterator[str]:
    """HTML of a cell: of its text, or of what it displayed."""
    if cell["cell_type"] == "markdown":
        yield _html(cell["source"])
        return
    outputs = [made for out in cell.get("outputs", []) if (made := _output(out))]
    if outputs:
        yield f'<div class="outputs">{"".join(outputs)}</div>'


def _output(output: Mapping[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        alternative = output["metadata"].get("image/png", {}).get("alt", "")
        return _image("".join(data["image/png"]).strip(), alternative)
    if "text/markdown" in data:
        text = "".join(data["text/markdown"])
        return f"<div>{_html(text)}</div>" if text else ""
    if "text/html" in data:
        html = "".join(data["text/html"])
        return f'<div class="scroll">{html}</div>' if html.startswith("<div>") else html
    return ""


def _html(markdown: str | list[str]) -> str:
    from nbconvert.filters import markdown2html  # a second to import

    html: str = markdown2html("".join(markdown))
    html = re.sub('<a class="anchor-link".*?</a>', "", html)
    return html.replace("<p><strong>Figure", '<p class="caption"><strong>Figure')


def _image(png: str, alternative: str) -> str:
    from PIL import Image

    width = Image.open(BytesIO(base64.b64decode(png))).width
    kind = ' class="wide"' if width > WIDE else ""
    source = f"data:image/png;base64,{_lighten(png)}"
    return f'<img{kind} alt="{escape(alternative)}" src="{source}">'


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


def strip_notebook(path: Path) -> str:
    """An executed notebook as JSON for publication: without clock times and folders, lighter.

    Of the two cells with parameters the one that was run stays.
    """
    content = json.loads(path.read_text())
    content["metadata"].pop("papermill", None)
    kept = [c for c in content["cells"] if "parameters" not in c["metadata"].get("tags", [])]
    content["cells"] = kept
    for cell in kept:
        cell["metadata"].pop("papermill", None)
        cell["metadata"].pop("execution", None)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = _lighten(output["data"]["image/png"])
        if "injected-parameters" in cell["metadata"].get("tags", []):
            cell["source"] = [
                line.split("=")[0] + '= ""\n' if line.startswith(("runs", "data_root")) else line
                for line in "".join(cell["source"]).splitlines(keepends=True)
            ]
    return json.dumps(content, indent=1) + "\n"


def _lighten(png: str) -> str:
    """A figure with 256 colours where that is smaller, as base64: copies are for reading."""
    from PIL import Image

    figure, lighter = Image.open(BytesIO(base64.b64decode(png))), BytesIO()
    figure.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        lighter, "PNG", optimize=True
    )
    return min(png, base64.b64encode(lighter.getvalue()).decode(), key=len)
