"""Executed notebooks for reading: the synthesis as one HTML file, and copies without paths."""

import base64
import json
import shutil
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

from medunlearn.disk import written_whole

SHOWCASE = ("01_cohort", "04_synthesis")


def write_html(notebook: Path, path: Path) -> None:
    """Convert an executed notebook; the code is left out, cells tagged ``appendix`` are folded.

    Args:
        notebook: An executed notebook.
        path: Gets the HTML, whole, with all figures inside.
    """
    # a second to import: not for commands that only look
    import nbformat
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    config = Config()
    config.HTMLExporter.exclude_input = True
    config.HTMLExporter.exclude_output_prompt = True
    config.HTMLExporter.embed_images = True
    # the report is read without a network too
    config.HTMLExporter.mathjax_url = ""
    config.HTMLExporter.require_js_url = ""
    content = nbformat.read(notebook, as_version=4)
    for cell in content.cells:
        for output in cell.get("outputs", []):
            _name_figure(output)
    html, _ = HTMLExporter(config=config).from_notebook_node(
        content, resources={"metadata": {"name": "medunlearn: report"}}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        partial.write_text(html, encoding="utf-8")


def _name_figure(output: Any) -> None:
    """Give a figure its alternative text in HTML: the template of nbconvert leaves it out."""
    text = output.get("metadata", {}).get("image/png", {}).get("alt")
    if text and "image/png" in output.get("data", {}):
        source = f"data:image/png;base64,{output['data']['image/png']}"
        output["data"] = {"text/html": f'<img alt="{escape(text)}" src="{source}">'}


def write_showcase(study_folder: Path, folder: Path) -> None:
    """Copy executed notebooks and the main figure; no folder of this machine goes with them.

    Args:
        study_folder: Of a finished study on the embedded cohort.
        folder: ``notebooks/showcase``.
    """
    folder.mkdir(exist_ok=True)
    for name in SHOWCASE:
        content = json.loads((study_folder / "jobs" / f"{name}.ipynb").read_text())
        content["metadata"].pop("papermill", None)
        for cell in content["cells"]:
            cell["metadata"].pop("papermill", None)
            cell["metadata"].pop("execution", None)
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    output["data"]["image/png"] = _lighten(output["data"]["image/png"])
            if "injected-parameters" in cell["metadata"].get("tags", []):
                cell["source"] = [
                    line.split("=")[0] + '= ""\n'
                    if line.startswith(("runs", "data_root"))
                    else line
                    for line in "".join(cell["source"]).splitlines(keepends=True)
                ]
        (folder / f"{name}.ipynb").write_text(json.dumps(content, indent=1) + "\n")
    shutil.copy(study_folder / "report" / "figures" / "gaps.png", folder)


def _lighten(png: str) -> str:
    """A figure with 256 colours where that is smaller, as base64: copies are for reading."""
    from PIL import Image

    figure, lighter = Image.open(BytesIO(base64.b64decode(png))), BytesIO()
    figure.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        lighter, "PNG", optimize=True
    )
    return min(png, base64.b64encode(lighter.getvalue()).decode(), key=len)
