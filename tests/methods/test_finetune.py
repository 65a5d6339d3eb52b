import torch

from medunlearn.methods import get_method


def test_norm_statistics_move(make_task):
    model, task = make_task()
    tuned = get_method("finetune")(model, task, seed=0, epochs=1)
    assert int(tuned.bn1.num_batches_tracked) == task.retain.steps()
    assert not torch.equal(tuned.bn1.running_mean, model.bn1.running_mean)
