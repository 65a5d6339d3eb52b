import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from medunlearn.methods.kde import kde


def test_first_convolution_and_head_alone_are_redrawn(make_task):
    model, task = make_task()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01  # the head's bias too is then unlike its initial state
    student = kde(model, task, seed=0, warm_epochs=0, epochs=0)
    changed = {
        name
        for name, value in student.state_dict().items()
        if not torch.equal(value, model.state_dict()[name])
    }
    assert changed == {"conv1.weight", "fc.weight", "fc.bias"}


def test_phase_one_reads_the_holdout_and_phase_two_the_retain_set(make_task, monkeypatch):
    model, task = make_task()
    phases = []
    monkeypatch.setattr(
        "medunlearn.methods.kde.train_epoch",
        lambda _model, batches, optimizer, *_, **__: phases.append(
            (batches, optimizer.param_groups[0]["lr"])
        ),
    )
    with pytest.warns(UserWarning, match="before `optimizer.step"):  # nothing is trained here
        kde(model, task, seed=0, warm_epochs=2, epochs=1, warm_rate=0.3, learning_rate=0.2)
    assert phases == [(task.holdout, 0.3), (task.holdout, 0.3), (task.retain, 0.2)]


@torch.no_grad()
def test_losses_are_the_divergence_at_five_and_ce_plus_twice_that(make_task, monkeypatch):
    model, task = make_task()
    losses = []
    monkeypatch.setattr(
        "medunlearn.methods.kde.train_epoch", lambda *_, loss, **__: losses.append(loss)
    )
    with pytest.warns(UserWarning, match="before `optimizer.step"):  # nothing is trained here
        kde(model, task, seed=0, warm_epochs=1, epochs=1)

    def student(inputs):
        return 9 * model(inputs).roll(1, dims=1)  # far from the teacher

    inputs, labels = next(task.retain.ordered())
    p, q = (F.softmax(m(inputs).double() / 5, dim=1) for m in (model, student))
    distance = float((p * (p / q).log()).sum(1).mean())
    error = float(F.cross_entropy(student(inputs), labels))
    imitate, imitate_and_learn = (float(loss(student, inputs, labels)) for loss in losses)
    assert distance > 0.01
    assert imitate == pytest.approx(distance, rel=1e-3)
    assert imitate_and_learn == pytest.approx(error + 2 * distance, rel=1e-3)
    assert float(losses[0](model, inputs, labels)) == pytest.approx(0, abs=1e-6)  # the teacher
