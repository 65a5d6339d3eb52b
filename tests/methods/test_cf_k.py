import pytest
import torch

from medunlearn.methods import get_method
from medunlearn.methods._blocks import tail_names


@pytest.mark.parametrize("name", ["cf_k", "eu_k"])
@pytest.mark.parametrize("k", [0, 1, 3])
def test_frozen_blocks_keep_their_bits_and_the_tail_moves(trained, name, k):
    model, task = trained
    tail = tuple(f"{module}." for module in tail_names(model, task, k))
    assert task.recipe.weight_decay > 0
    old, new = model.state_dict(), get_method(name)(model, task, seed=0, k=k).state_dict()
    for key in old:  # buffers of BatchNorm among them; both have counted as many batches
        if key.endswith("num_batches_tracked"):
            continue
        assert torch.equal(old[key], new[key]) != key.startswith(tail), key


def test_frozen_norms_normalise_with_their_running_statistics(make_task, monkeypatch):
    model, task = make_task()
    modes = []
    forward = torch.nn.BatchNorm2d.forward
    monkeypatch.setattr(
        torch.nn.BatchNorm2d, "forward", lambda m, x: (modes.append(m.training), forward(m, x))[1]
    )
    get_method("cf_k")(model, task, seed=0, k=1, epochs=2)
    norms = sum(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())
    modes = modes[norms:]  # one pass before training finds the order of the blocks
    one_pass = [False] * (len(modes) // task.retain.steps() // 2 - 3) + [True] * 3
    # in order of use, the last block's three: two of its path, one of its shortcut
    assert modes == one_pass * task.retain.steps() * 2
