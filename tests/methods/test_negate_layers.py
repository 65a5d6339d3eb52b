import torch

from medunlearn.methods.negate_layers import negate_layers


def test_only_the_first_convolution_is_negated_before_fine_tuning(make_task):
    model, task = make_task()
    model.train()(next(task.retain.ordered())[0])  # BatchNorm has statistics of its own now
    old, new = model.state_dict(), negate_layers(model, task, seed=0, epochs=0).state_dict()
    assert torch.equal(new.pop("conv1.weight"), -old["conv1.weight"])
    assert all(torch.equal(value, old[name]) for name, value in new.items())
