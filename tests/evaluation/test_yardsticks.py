import pandas as pd

from medunlearn.evaluation.yardsticks import compare, line_ups

DRAW = "random-0.1-shared"


def models(rows):
    """Models as (role, oracle_set, method, seed)."""
    table = pd.DataFrame(rows, columns=["role", "oracle_set", "method", "seed"])
    cell = table["role"] != "original"
    return table.assign(
        composition=cell.map({True: "random"}),
        forget_size=cell.map({True: 0.1}),
        draw=cell.map({True: DRAW}),
    )


def test_methods_are_held_to_the_retrained_model_of_their_seed_and_to_its_partner_of_set_b():
    table = models(
        [("original", None, None, s) for s in (0, 1, 2)]
        + [("retrained", "A", None, s) for s in (0, 1, 2)]
        + [("retrained", "B", None, s) for s in (100, 101)]
        + [("unlearned", None, "finetune", s) for s in (2, 1)]
        + [("unlearned", None, "sisa", s) for s in (0, 1)]
    )
    found = {
        (c.method, c.against): c for c in compare({one.method: one for one in line_ups(table)})
    }
    # an ensemble of its own is retrained by construction, and set B has no floor but itself
    assert set(found) == {
        ("original", "retrained"), ("original", "floor"), ("finetune", "retrained"),
        ("finetune", "floor"), ("floor", "retrained"),
    }  # fmt: skip
    fine = found["finetune", "retrained"]
    assert (fine.seeds, fine.rows, fine.others, fine.base) == ((1, 2), (9, 8), (4, 5), (4, 5))
    # set B has partners for seeds 0 and 1 only
    floor = found["finetune", "floor"]
    assert (floor.seeds, floor.rows, floor.others, floor.base) == ((1,), (9,), (7,), (4,))
    control = found["floor", "retrained"]
    assert (control.seeds, control.rows, control.others) == ((0, 1), (6, 7), (3, 4))
