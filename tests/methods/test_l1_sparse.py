import torch
import torch.nn.functional as F  # noqa: N812

from medunlearn.methods import get_method


def test_penalty_fades_over_the_epochs(make_linear):
    x = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64)
    weight = torch.tensor([[0.5, -1.0], [0.25, 2.0]], dtype=torch.float64)
    model, task = make_linear(weight, (x, [0, 1]), (x, [1, 0]))
    for share in (1.0, 0.5):  # a_t = a (1 - t / 2)
        errors = x.matmul(weight.T).softmax(1) - F.one_hot(torch.tensor([0, 1]), 2)
        weight = weight - 0.1 * (errors.T @ x / 2 + 0.3 * share * weight.sign())
    settings = {"epochs": 2, "learning_rate": 0.1, "alpha": 0.3}
    sparse = get_method("l1_sparse")(model, task, seed=0, **settings)
    torch.testing.assert_close(sparse.weight.data, weight, rtol=0, atol=1e-14)


def test_norms_and_biases_shrink_too(make_task):
    model, task = make_task()
    by_alpha = [
        get_method("l1_sparse")(model, task, seed=0, epochs=1, alpha=a) for a in (0.0, 0.01)
    ]
    free, pulled = (dict(m.named_parameters()) for m in by_alpha)
    for name in ("conv1.weight", "bn1.weight", "fc.weight"):
        assert pulled[name].abs().sum() < free[name].abs().sum(), name
