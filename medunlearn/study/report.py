"""The executed synthesis as one HTML file, for reading."""

from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from traitlets.config import Config


def write_html(notebook: Path, path: Path) -> None:
    """Convert an executed notebook; the code is left out, cells tagged ``appendix`` are folded.

    Args:
        notebook: An executed notebook.
        path: Gets the HTML, whole, with all figures inside.
    """
    config = Config()
    config.HTMLExporter.exclude_input = True
    config.HTMLExporter.exclude_output_prompt = True
    config.HTMLExporter.embed_images = True
    # the report is read without a network too
    config.HTMLExporter.mathjax_url = ""
    config.HTMLExporter.require_js_url = ""
    content = nbformat.read(notebook, as_version=4)
    html, _ = HTMLExporter(config=config).from_notebook_node(
        content, resources={"metadata": {"name": "medunlearn: report"}}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(html, encoding="utf-8")
    partial.replace(path)
