import dataclasses

import torch

from medunlearn.batches import Batches
from medunlearn.methods import get_method


def test_equals_steps_worked_by_hand(make_linear):
    # logits (3, -1) at the first image, zero elsewhere: gradients 2 f_c x
    weight = torch.tensor([[3.0, 0.0], [-1.0, 0.0]])
    forget, retain = torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0, 5.0], [0.5, 0.0], [0.0, 5.0]])
    model, task = make_linear(weight, (retain, [0, 1, 0]), (forget, [0]))
    # I_f = (6, 6), (2, 2); I_r summed over three = (1.5, 0), (.5, 0); I_D = (7.5, 6)/4, (2.5, 2)/4
    damped = get_method("lfssd")(model, task, seed=0, alpha=3.0)
    factor = torch.tensor(7.5 / 4) / 6
    assert torch.equal(damped.weight, torch.tensor([[3.0 * factor, 0.0], [-1.0 * factor, 0.0]]))


def test_reads_no_label(trained):
    model, task = trained
    images = dataclasses.replace(task.retain.images, labels=task.retain.images.labels.roll(1))
    parts = (task.retain, task.forget, task.holdout)
    shuffled = dataclasses.replace(
        task,
        **{
            name: Batches(images, part.rows, task.recipe)
            for name, part in zip(("retain", "forget", "holdout"), parts, strict=True)
        },
    )
    both = [get_method("lfssd")(model, t, seed=0, alpha=1.2) for t in (task, shuffled)]
    assert all(map(torch.equal, both[0].parameters(), both[1].parameters()))
    assert not all(map(torch.equal, both[0].parameters(), model.parameters()))
