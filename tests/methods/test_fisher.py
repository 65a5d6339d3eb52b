import torch

from medunlearn.methods import fisher, get_method


def spread(make_task, monkeypatch, information, alpha=1e-4):
    """By how much each layer is blurred where the information is the same everywhere."""
    model, task = make_task()
    monkeypatch.setattr(
        fisher,
        "fisher_information",
        lambda m, _: [torch.full_like(p, information) for p in m.parameters()],
    )
    blurred = get_method("fisher")(model, task, seed=0, alpha=alpha)
    layers = zip(model.named_parameters(), blurred.parameters(), strict=True)
    return {name: (new - old).detach() for (name, old), new in layers}


def test_variance_is_alpha_over_the_information(make_task, monkeypatch):
    moved = spread(make_task, monkeypatch, 0.05)  # 1 / F = 20 is below both caps
    for name in ("layer4.0.conv2.weight", "fc.weight"):
        assert 0.9 < float(moved[name].var() / (1e-4 * 20)) < 1.1, name


def test_inverse_is_capped_lower_for_the_head(make_task, monkeypatch):
    moved = spread(make_task, monkeypatch, 0.0)
    assert 0.95 < float(moved["layer4.0.conv2.weight"].var() / (1e-4 * 1e3)) < 1.05
    assert 0.7 < float(moved["fc.weight"].var() / (1e-4 * 1e2)) < 1.3
    assert moved["layer4.0.conv2.weight"].abs().max() > 1  # 1/F is capped, the weights are not


def test_noise_is_that_of_the_seed_scaled(make_task, monkeypatch):
    small, large = (spread(make_task, monkeypatch, 0.05, alpha) for alpha in (1e-4, 4e-4))
    for name in small:
        torch.testing.assert_close(2 * small[name], large[name], rtol=1e-3, atol=1e-6)


def test_statistics_of_norms_stay(trained):
    model, task = trained
    blurred = get_method("fisher")(model, task, seed=0)
    assert all(map(torch.equal, model.buffers(), blurred.buffers()))
