"""Which code a result depends on: hashes of a module and of all that it imports from here."""

import ast
import hashlib
import json
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

SILENT = {"parameters", "figure"}
"""Tags of cells that decide nothing: what is given is asked by itself, and a figure only shows."""

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
def module_hashes(*modules: str, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """Hashes of these modules and, transitively, of every module of the package they import.

    Args:
        modules: Dotted names, for example ``medunlearn.training``.
        without: Modules that decide nothing, though they are imported: neither hashed nor followed.

    Returns:
        Module name to hash, sorted by name. Nothing is imported.
    """
    found: dict[str, str] = {}
    waiting = [*modules]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in without:
            found[name], imported = _read_module(name)
            waiting += imported
    return dict(sorted(found.items()))


def module_hash(module: str) -> str:
    """Hash of one module, whatever it imports."""
    return _read_module(module)[0]


@cache
def _read_module(name: str) -> tuple[str, list[str]]:
    """Hash of a module, and what it imports from here; parsed once, for most share most modules."""
    code = _path_of(name).read_text()
    return code_hash(code), _imports(code)


def source_of(module: str) -> Path | None:
    """The source file of any module that could be imported; nothing is imported for it."""
    places, found = None, None
    for depth in range(1, module.count(".") + 2):
        found = PathFinder.find_spec(".".join(module.split(".")[:depth]), places)
        places = found.submodule_search_locations if found else []
    return Path(found.origin) if found and found.origin and found.has_location else None


def notebook_hash(path: Path) -> str:
    """Hash of a notebook's code cells, the cell tagged ``parameters`` left out."""
    return code_hash(_code_of(path))


def notebook_imports(path: Path) -> list[str]:
    """Modules of this package that a notebook imports by name."""
    return _imports(_code_of(path))


def _code_of(notebook: Path) -> str:
    cells = [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]
    decisive = [c for c in cells if SILENT.isdisjoint(c["metadata"].get("tags", []))]
    return "\n".join("".join(cell["source"]) for cell in decisive)


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_hash(content: object) -> str:
    """sha256 of canonical JSON: sorted keys, no spaces."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _path_of(module: str) -> Path:
    path = _PACKAGE.parent.joinpath(*module.split("."))
    file = path.with_suffix(".py")
    return file if file.is_file() else path / "__init__.py"


def _imports(code: str) -> list[str]:
    """Modules of this package that code imports by name when it runs (it never does relatively)."""
    modules, tree = list[str](), ast.parse(code)
    for node in list(ast.walk(tree)):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            modules += [_home_of(alias.name, str(node.module)) for alias in node.names]
        elif isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
    return [module for module in modules if module.split(".")[0] == _NAME]


def _home_of(name: str, module: str) -> str:
    """The module behind ``from module import name``: a package may have it from another one."""
    if module.split(".")[0] != _NAME:
        return module
    if _path_of(f"{module}.{name}").is_file():
        return f"{module}.{name}"
    package = _path_of(module)
    body = ast.parse(package.read_text()).body if package.name == "__init__.py" else []
    given = [node for node in body if isinstance(node, ast.ImportFrom)]
    homes = (str(node.module) for node in given if name in {alias.name for alias in node.names})
    return next(homes, module)
