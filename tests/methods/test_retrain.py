import dataclasses

import torch

from medunlearn.methods import get_method
from medunlearn.training import train


def test_is_training_without_the_forget_set(make_task, trained):
    model, task = make_task()
    direct = train(task.retain, task.recipe, seed=3).state_dict()
    for start in (model, trained[0]):  # nothing of the model given is read
        retrained = get_method("retrain")(start, dataclasses.replace(task), seed=3).state_dict()
        assert all(torch.equal(direct[k], retrained[k]) for k in direct)
