"""Which code a result depends on: hashes of a module and of all that it imports from here."""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
_NAME = _PACKAGE.name


def code_hash(code: str) -> str:
    """Hash of what code does: comments, docstrings and layout do not count."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


@cache
def module_hashes(*modules: str) -> dict[str, str]:
    """Hashes of these modules and, transitively, of every module of the package they import.

    Args:
        modules: Dotted names, for example ``medunlearn.training``.

    A module of ``medunlearn.study`` stands on top of the flow: if it is named, it is hashed, but
    what it imports is not followed.

    Returns:
        Module name to hash, sorted by name. Nothing is imported.
    """
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name], imported = _read_module(name)
            if not name.startswith(f"{_NAME}.study"):
                waiting += imported
    return dict(sorted(found.items()))


@cache
def _read_module(name: str) -> tuple[str, list[str]]:
    """Hash of a module, and what it imports from here; parsed once, for most share most modules."""
    code = _path_of(name).read_text()
    return code_hash(code), _imports(code)


def notebook_hash(path: Path) -> str:
    """Hash of a notebook's code cells, the cell tagged ``parameters`` left out."""
    cells = json.loads(path.read_text())["cells"]
    code = [
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", [])
    ]
    return code_hash("\n".join(code))


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_hash(content: object) -> str:
    """sha256 of canonical JSON: sorted keys, no spaces."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _path_of(module: str) -> Path:
    relative = Path(*module.split(".")[1:])
    file = _PACKAGE / relative.with_suffix(".py") if relative.parts else _PACKAGE / "__init__.py"
    return file if file.is_file() else _PACKAGE / relative / "__init__.py"


def _imports(code: str) -> list[str]:
    """Modules of this package that code imports by name (it never imports them relatively)."""
    modules = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _NAME:
            module = str(node.module)
            modules.append(module)
            inner = [f"{module}.{alias.name}" for alias in node.names]
            modules += [m for m in inner if _path_of(m).is_file()]
        elif isinstance(node, ast.Import):
            modules += [a.name for a in node.names if a.name.split(".")[0] == _NAME]
    return modules
