"""Do nothing: the original model, used as if it were unlearned. The ceiling of every gap."""

from torch import nn

from medunlearn.methods._task import Method, Task, student_of


def original(model: nn.Module, task: Task, *, seed: int) -> nn.Module:  # noqa: ARG001
    """Return a copy of the model.

    Does not forget, and says so: what a method does not improve on this, it has not done.
    """
    return student_of(model)


METHOD = Method(
    function=original,
    label="do nothing",
    reads=frozenset(),
    forgets=False,
    ranges={},
    colour="#7f7f7f",
    marker="x",
)
