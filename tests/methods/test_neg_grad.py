import torch
import torch.nn.functional as F  # noqa: N812

from medunlearn.methods import get_method


def test_step_is_gradient_ascent(make_linear):
    forget = torch.tensor([[1.0, 2.0], [0.0, -1.0]], dtype=torch.float64)
    weight = torch.tensor([[0.5, -1.0], [0.25, 2.0]], dtype=torch.float64)
    model, task = make_linear(weight, (forget + 1, [0, 1]), (forget, [0, 1]))
    ascended = get_method("neg_grad")(model, task, seed=0, epochs=1, learning_rate=0.1)
    errors = forget.matmul(weight.T).softmax(1) - F.one_hot(torch.tensor([0, 1]), 2)
    torch.testing.assert_close(
        ascended.weight.data, weight + 0.1 * errors.T @ forget / 2, rtol=0, atol=1e-15
    )
