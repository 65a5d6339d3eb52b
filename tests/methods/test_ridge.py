"""On ridge regression one Newton step on the retain set is retraining: a check of the plumbing."""

import pytest
import torch


@pytest.mark.parametrize("size", [4, 7, 64])
def test_newton_step_on_the_retain_set_is_retraining(make_linear, size):
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 5, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 2, (40,), generator=draw)
    retain, forget = (inputs[:30], labels[:30].tolist()), (inputs[30:], labels[30:].tolist())
    decay = 0.1 * torch.eye(5, dtype=torch.float64)

    def ridge(x, y):
        return torch.linalg.solve(x.T @ x + decay, x.T @ y.double())

    start = ridge(inputs, labels)
    model, task = make_linear(start[None], retain, forget, batch_size=size)
    hessian, slope = decay.clone(), decay @ start
    for x, y in task.retain.epoch(torch.Generator().manual_seed(1)):
        hessian += x.T @ x
        slope += x.T @ (model(x)[:, 0].detach() - y)
    unlearned = start - torch.linalg.solve(hessian, slope)
    torch.testing.assert_close(unlearned, ridge(inputs[:30], labels[:30]), rtol=0, atol=1e-6)
    assert (unlearned - start).abs().max() > 1e-3
