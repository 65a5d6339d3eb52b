"""Do nothing: the original model, used as if it were unlearned. The ceiling of every gap."""

from torch import nn

from medunlearn.methods._task import Task, method, student_of


@method("do nothing", "", "#7f7f7f x", forgets=False)
def original(model: nn.Module, task: Task, *, seed: int) -> nn.Module:  # noqa: ARG001
    """Return a copy of the model.

    Does not forget, and says so: what a method does not improve on this, it has not done.
    """
    return student_of(model)
