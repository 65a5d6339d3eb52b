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


def test_variance_is_alpha_over_the_information_and_ten_times_that_in_the_head(
    make_task, monkeypatch
):
    moved = spread(make_task, monkeypatch, 0.05)  # 1 / F = 20 is below both caps
    assert 0.9 < float(moved["layer4.0.conv2.weight"].var() / (1e-4 * 20)) < 1.1
    assert 0.9 < float(moved["fc.weight"].var() / (1e-3 * 20)) < 1.1


def test_one_dimensional_parameters_move_ten_times_the_variance(make_task, monkeypatch):
    moved = spread(make_task, monkeypatch, 0.05)
    flat = torch.cat([change for name, change in moved.items() if change.ndim == 1])
    assert 0.8 < float(flat.var() / (1e-3 * 20)) < 1.2


def test_variance_is_averaged_over_the_inputs_of_a_unit(make_task, monkeypatch):
    model, task = make_task()

    def information(network, _):
        """Needed by half of the inputs without measure, by the other half a little."""
        found = [torch.full_like(p, 0.05) for p in network.parameters()]
        for each in found:
            if each.ndim > 1:
                each[:, ::2] = 1e9
        return found

    monkeypatch.setattr(fisher, "fisher_information", information)
    blurred = get_method("fisher")(model, task, seed=0, alpha=1e-4)
    old, new = (m.get_parameter("layer4.0.conv2.weight") for m in (model, blurred))
    moved = (new - old).detach()
    for inputs in (moved[:, ::2], moved[:, 1::2]):
        assert 0.9 < float(inputs.var() / (1e-4 * 20 / 2)) < 1.1


def test_inverse_is_capped_lower_for_the_head(make_task, monkeypatch):
    moved = spread(make_task, monkeypatch, 0.0)
    assert 0.95 < float(moved["layer4.0.conv2.weight"].var() / (1e-4 * 1e3)) < 1.05
    assert 0.7 < float(moved["fc.weight"].var() / (1e-3 * 1e2)) < 1.3
    assert moved["layer4.0.conv2.weight"].abs().max() > 1  # 1/F is capped, the weights are not


def test_statistics_of_norms_stay(trained):
    model, task = trained
    blurred = get_method("fisher")(model, task, seed=0)
    assert all(map(torch.equal, model.buffers(), blurred.buffers()))
