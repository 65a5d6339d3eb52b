import torch
import torch.nn.functional as F  # noqa: N812

from medunlearn.methods.negate_layers import negate_layers


def test_only_the_first_convolution_is_negated_before_fine_tuning(make_task):
    model, task = make_task()
    model.train()(next(task.retain.ordered())[0])  # BatchNorm has statistics of its own now
    old, new = model.state_dict(), negate_layers(model, task, seed=0, epochs=0).state_dict()
    assert torch.equal(new.pop("conv1.weight"), -old["conv1.weight"])
    assert all(torch.equal(value, old[name]) for name, value in new.items())


@torch.no_grad()
def test_fine_tuning_repairs_the_retain_set(make_task):
    model, task = make_task()
    inputs, labels = next(task.retain.ordered())
    with torch.enable_grad():
        broken, repaired = (negate_layers(model, task, seed=0, epochs=epochs) for epochs in (0, 4))
    assert F.cross_entropy(repaired(inputs), labels) < F.cross_entropy(broken(inputs), labels)
