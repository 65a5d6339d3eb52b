"""The report as a page: what it leaves out, and that everybody can read it."""

import base64
import json
import re
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from medunlearn.figures.style import contrast
from medunlearn.study import report

STYLE = Path(report.__file__).with_name("report.css").read_text()


def picture():
    file = BytesIO()
    Image.new("RGB", (4, 3), "white").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def cell(kind, source, outputs=(), tags=()):
    return {
        "cell_type": kind, "source": source, "metadata": {"tags": list(tags)},
        "outputs": list(outputs),
    }  # fmt: skip


@pytest.fixture
def page(tmp_path):
    figure = {"data": {"image/png": picture()}, "metadata": {"image/png": {"alt": "A < B"}}}
    cells = [
        cell("markdown", "## C1\n\n**Figure 2.** What to see."),
        cell("code", "secret()", [{"name": "stdout", "text": "/a/path"}, figure]),
        cell("markdown", "An equation", tags=["notebook"]),
        cell("code", "2", [{"data": {"text/html": "<b>hand</b>"}}], tags=["notebook"]),
    ]
    (tmp_path / "04.ipynb").write_text(json.dumps({"cells": cells}))
    report.write_html(tmp_path / "04.ipynb", tmp_path / "index.html")
    return (tmp_path / "index.html").read_text()


def test_code_prints_and_cells_for_the_notebook_are_left_out(page):
    for hidden in ("secret", "/a/path", "equation", "hand", "<script", "anchor-link"):
        assert hidden not in page
    assert '<p class="caption"><strong>Figure 2.' in page


def test_every_figure_has_its_alternative_text(page):
    assert re.findall(r'<img[^>]* alt="([^"]*)"', page) == ["A &lt; B"]


def test_every_text_stands_out_from_what_is_behind_it():
    named = dict(re.findall(r"--(\w+): (#\w+)", STYLE))
    texts = [named["ink"], named["soft"], *re.findall(r"[{ ;]color: (#\w+)", STYLE)]
    plain = ["#ffffff", named["wash"]]
    for text in texts:
        assert min(contrast(text, behind) for behind in plain) >= 4.5, text
    verdicts = re.findall(r"^\.[\w, .-]+ \{ background: (#\w+)", STYLE, re.M)
    assert len(verdicts) >= 3
    for behind in verdicts:
        assert contrast(named["ink"], behind) >= 4.5
        for small in ("#424a53", named["soft"]):  # the estimate, and on a narrow screen the title
            assert contrast(small, behind) >= 4.5
