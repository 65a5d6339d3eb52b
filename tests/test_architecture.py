"""Promises of the layout: who imports whom, and sizes."""

import ast
import io
import json
import tokenize
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "medunlearn").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FLOW = [
    "cohort",
    "models",
    "batches",
    "training",
    "methods",
    "evaluation",
    "statistics",
    "figures",
    "study",
]
# statistics are of numbers: they know no evaluation, and results use them
ALLOWED = {("evaluation", "statistics")}


def place(module: str) -> int | None:
    part = module.split(".")[1] if "." in module else ""
    return FLOW.index(part) if part in FLOW else None


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_left_only(path):
    own = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("medunlearn."):
            here, there = place(own), place(str(node.module))
            pair = (own.split(".")[1], str(node.module).split(".")[1])
            if None not in (here, there) and pair not in ALLOWED:
                assert there <= here, f"{own} imports {node.module}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_and_functions_are_short(path):
    code = path.read_text()
    assert code.count("\n") <= 260
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            assert node.end_lineno - node.lineno - docstring.count("\n") <= 60, node.name


SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(path: Path) -> int:
    """Lines that hold code: no docstring, no comment, not blank."""
    text = path.read_text()
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in SILENT
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(text)):
        for each in node.body if isinstance(getattr(node, "body", None), list) else ():
            if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant):
                code -= set(range(each.lineno, each.end_lineno + 1))
    return len(code)


def test_a_stranger_can_read_the_package_in_an_evening():
    lines = Counter[str]()
    for path in MODULES:
        lines[str(path.relative_to(ROOT).parent)] += code_lines(path)
    tests = sum(p.read_text().count("\n") for p in (ROOT / "tests").rglob("*.py"))
    print(*(f"{count:6,} {folder}" for folder, count in sorted(lines.items())), sep="\n")
    print(f"{lines.total():,} lines of code in {len(MODULES)} modules; {tests:,} lines of tests")
    assert lines.total() <= 10_700
    assert len(MODULES) <= 138
    assert tests <= 16_800


def test_method_files_stay_small():
    methods = [p for p in MODULES if p.parent.name == "methods" and not p.name.startswith("_")]
    assert sum(p.read_text().count("\n") for p in methods) <= 1_670


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_short_and_their_parameters_are_typed_and_commented(path):
    cells = json.loads(path.read_text())["cells"]
    code = [c for c in cells if c["cell_type"] == "code"]
    assert len(cells) <= 25
    assert max(len("".join(c["source"]).splitlines()) for c in code) <= 15
    tagged = [c for c in code if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1
    for line in "".join(tagged[0]["source"]).splitlines():
        assert ": " in line.split("=")[0], line
        assert "  # " in line, line
