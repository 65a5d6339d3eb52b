import torch

from medunlearn.methods.negate_layers import METHOD


def test_only_the_first_convolution_is_negated_before_fine_tuning(make_task):
    model, task = make_task()
    old, new = model.state_dict(), METHOD(model, task, seed=0, epochs=0).state_dict()
    assert torch.equal(new.pop("conv1.weight"), -old["conv1.weight"])
    assert all(torch.equal(value, old[name]) for name, value in new.items())


def test_fine_tuning_repairs_the_retain_set(make_task):
    model, task = make_task()
    (inputs, labels), *_ = task.retain.ordered()

    def loss(epochs: int) -> float:
        student = METHOD(model, task, seed=0, epochs=epochs)
        return float(torch.nn.functional.cross_entropy(student(inputs), labels))

    assert loss(4) < loss(0)
