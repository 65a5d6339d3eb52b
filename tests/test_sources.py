import json

import pytest

from medunlearn.methods import METHOD_NAMES
from medunlearn.sources import code_hash, module_hashes, notebook_hash, notebook_imports


def test_comments_docstrings_and_layout_do_not_count():
    one = 'def f(x):\n    """Say."""\n    return x + 1  # why\n'
    other = "def f(x):\n\n    return x+1\n"
    assert code_hash(one) == code_hash(other)


def test_code_and_strings_count():
    assert code_hash("x = 'a'") != code_hash("x = 'b'")
    assert code_hash("def f():\n    return 1") != code_hash("def f():\n    return 2")


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_a_model_depends_on_its_method_and_training_and_on_nothing_downstream(method):
    own, predictions = f"medunlearn.methods.{method}", "medunlearn.evaluation.predictions"
    found = set(module_hashes("medunlearn.training", predictions, own))
    assert "medunlearn.training" in module_hashes(own)
    others = {f"medunlearn.methods.{name}" for name in METHOD_NAMES} - {own}
    assert not found & {*others, "medunlearn.methods"}, "neither another method nor the registry"
    assert not {m for m in found if m.startswith(("medunlearn.statistics", "medunlearn.figures"))}


def test_what_decides_nothing_is_neither_hashed_nor_followed():
    task = "medunlearn.methods._task"
    assert "medunlearn.cost" in module_hashes(task)
    assert "medunlearn.cost" not in module_hashes(task, without=frozenset({"medunlearn.cost"}))


def test_a_notebook_depends_on_the_modules_of_what_it_names_and_not_on_types(tmp_path):
    """Who plots one thing does not depend on all that any figure needs."""
    code = [
        "from medunlearn.figures import plot_costs\n",
        "from medunlearn import models\n",
        "if TYPE_CHECKING:\n",
        "    from medunlearn import batches",
    ]
    cell = {"cell_type": "code", "metadata": {}, "source": code}
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": [cell]}))
    found = notebook_imports(tmp_path / "n.ipynb")
    assert found == ["medunlearn.figures.trade_offs", "medunlearn.models"]


def test_parameters_and_prose_of_a_notebook_do_not_count(tmp_path):
    def write(parameters, code, prose):
        cells = [
            {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": [parameters]},
            {"cell_type": "code", "metadata": {}, "source": [code]},
            {"cell_type": "markdown", "metadata": {}, "source": [prose]},
        ]
        (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells}))
        return notebook_hash(tmp_path / "n.ipynb")

    assert write("a = 1", "b = 1", "x") == write("a = 2", "b = 1", "y")
    assert write("a = 1", "b = 1", "x") != write("a = 1", "b = 2", "x")
