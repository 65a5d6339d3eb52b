"""The public call: any classifier, any way of saying what to forget, and the original untouched."""

import copy
import doctest
import functools
import warnings
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, TensorDataset

from medunlearn import unlearn
from medunlearn.errors import InputError
from medunlearn.methods import METHOD_NAMES, get_method
from medunlearn.unlearning import call
from medunlearn.unlearning.network import borrow
from tests.unlearning.networks import CLASSES, NETWORKS, Plain, ResNet50, TwoHeaded

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # asked for where they count

COUNT = 36
PATIENTS = [f"p{i // 2}" for i in range(COUNT)]
LABELS = np.arange(COUNT) % CLASSES
ROWS = [0, 1, 8, 9]
RECIPE = {"epochs": 2, "batch_size": 16, "learning_rate": 0.05}
QUICK = {"amun": {"steps": 2, "doublings": 2}, "ssd": {"alpha": 1.0}, "lfssd": {"alpha": 1.0}}
MIXED = BatchSampler(RandomSampler(range(COUNT)), 7, drop_last=False)
SLOW = [pytest.param("densenet121", marks=pytest.mark.slow)]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Two fight for the cores with other tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def images() -> np.ndarray:
    """Bright bars at a place that tells the class, (36, 1, 32, 32), 0 to 1."""
    pixels = np.random.default_rng(0).random((COUNT, 1, 32, 32)).astype(np.float32) / 2
    for image, label in zip(pixels, LABELS, strict=True):
        image[0, 8 * label : 8 * label + 6] += 0.5
    return pixels


def fit(network: nn.Module, steps: int = 40) -> nn.Module:
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    inputs, labels = torch.tensor(images()), torch.tensor(LABELS)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    update_bn([inputs], network)
    return network


@functools.cache
def trained() -> ResNet50:
    torch.manual_seed(0)
    return fit(ResNet50())


def state_bytes(model: nn.Module) -> bytes:
    return b"".join(v.cpu().numpy().tobytes() for v in model.state_dict().values())


def traits(model: nn.Module) -> list[object]:
    """All that a caller could see has changed."""
    flags = [(p.requires_grad, p.grad is None) for p in model.parameters()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    return [state_bytes(model), flags, hooks, [m.training for m in model.modules()]]


@functools.cache
def forget_rows(method="finetune") -> bytes:
    return state_bytes(unlearn(trained(), images(), LABELS, forget=ROWS, method=method))


def test_the_example_of_the_docstring_runs():
    assert doctest.testmod(call).attempted > 5
    assert doctest.testmod(call).failed == 0


@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("name", [*SLOW, *(n for n in NETWORKS if n != "densenet121")])
def test_every_method_takes_every_network_and_leaves_it_as_it_is(name, method):
    if name == "vit":
        pytest.importorskip("einops", reason="MONAI's ViT needs it")
    torch.manual_seed(0)
    model = NETWORKS[name]()
    before, generator = traits(model), torch.get_rng_state()
    settings = {k: 1 for k in get_method(method).settings if k.endswith("epochs")}
    unlearned = unlearn(
        model, images(), LABELS, forget=ROWS, method=method, recipe=RECIPE,
        holdout=(images()[24:], LABELS[24:]), factory=NETWORKS[name] if name == "vit" else None,
        checkpoint=model if method == "r2d" else None,
        **settings, **QUICK.get(method, {}),
    )  # fmt: skip
    assert traits(model) == before
    assert torch.equal(torch.get_rng_state(), generator)
    for result in getattr(unlearned, "members", [unlearned]):
        assert type(result) is type(model)
        assert list(result.state_dict()) == list(model.state_dict())
        assert not any(m.training for m in result.modules())
    answer = unlearned(torch.tensor(images()))
    answer = answer[0] if name == "vit" and method != "sisa" else answer
    assert answer.shape == (COUNT, CLASSES)
    assert answer.isfinite().all()
    if method != "lotus":  # it stops at once if the original knows nothing of the forget set
        assert (state_bytes(unlearned) == before[0]) == (method == "original")


class Counted(Dataset):
    """Pairs, or mappings as in MONAI; counts how often each is read."""

    def __init__(self, *, mapping: bool = False) -> None:
        self.mapping, self.reads = mapping, [0] * COUNT

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index):
        self.reads[index] += 1
        image, label = images()[index], LABELS[index]
        return {"image": image, "label": label} if self.mapping else (image, label)


@pytest.mark.parametrize(
    "forget",
    [
        {"forget": torch.tensor(ROWS)},
        {"forget": np.isin(np.arange(COUNT), ROWS)},
        {"forget": {"p0", "p4"}, "patients": PATIENTS},
        {"forget": np.array([0, 4]), "patients": np.arange(COUNT) // 2},
    ],
)
def test_rows_a_mask_and_ids_name_the_same_images(forget):
    unlearned = unlearn(trained(), images(), LABELS, method="finetune", **forget)
    assert state_bytes(unlearned) == forget_rows()


@pytest.mark.parametrize(
    "given",
    [
        (torch.tensor(images()), torch.tensor(LABELS)),
        (images()[:, 0], LABELS[:, None].astype(float)),
        (TensorDataset(torch.tensor(images()), torch.tensor(LABELS)),),
        (DataLoader(Counted(), batch_size=7),),
        (DataLoader([*zip(images(), LABELS, strict=True)], batch_size=7),),
        (DataLoader(range(COUNT), 7, collate_fn=lambda rows: (images()[rows], LABELS[rows])),),
        (Counted(mapping=True),),
    ],
)
def test_images_come_as_arrays_tensors_data_sets_or_loaders(given):
    assert state_bytes(unlearn(trained(), *given, forget=ROWS, method="finetune")) == forget_rows()


@pytest.mark.parametrize("kind", [np.float64, np.int16])
def test_holdout_images_become_numbers_of_the_training_images_type(kind):
    other = (images().astype(kind), LABELS)
    unlearned = unlearn(trained(), images(), LABELS, forget=ROWS, method="finetune", holdout=other)
    assert state_bytes(unlearned) == forget_rows()


def test_a_data_set_is_read_once():
    data = Counted()
    unlearn(trained(), data, forget=ROWS, method="random_labels")
    assert data.reads == [1] * COUNT


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "salunn"}, "method 'salunn' is not known; choose from"),
        ({"method": "kde"}, "holdout: this method reads images of patients who were not trained"),
        ({"share_": 1}, "setting 'share_' is not known"),
        ({"labels": None}, "labels are missing"),
        ({"labels": LABELS[:5]}, r"labels have the shape \(5,\); expected \(36,\)"),
        ({"labels": [f"class {c}" for c in LABELS]}, "str_.*; .*of labels class numbers from 0"),
        ({"labels": LABELS - 1}, "not all whole numbers from 0"),
        ({"labels": LABELS + 1}, "has 3 logits, but labels go up to 3"),
        ({"images": images()[:, 0, 0]}, r"shape \(36, 32\); expected \(n, channels, height, width"),
        ({"images": np.moveaxis(images(), 1, 3)}, r"32, 32, 1\); expected .*numpy.moveaxis"),
        ({"images": images().repeat(3, 1)}, r"does not take images of shape \(2, 3, 32, 32\)"),
        ({"images": images().astype(np.uint8)}, r"uint8; expected \(mean, deviation\)"),
        ({"images": DataLoader(Counted(), shuffle=True), "labels": None}, "the loader shuffles"),
        ({"images": DataLoader(Counted(), batch_sampler=MIXED), "labels": None}, "loader shuffles"),
        ({"forget": ["p3"]}, r"1 not found \(p3\); expected .* rows 0 to 35; for ids of patients"),
        ({"forget": [-1, 36]}, r"2 not found \(-1, 36\)"),
        ({"forget": []}, "0 of 36 images; expected some, and not all"),
        ({"forget": range(COUNT)}, "36 of 36 images"),
        ({"forget": ["p99"], "patients": PATIENTS}, r"1 not found \(p99\); expected a list of ids"),
        ({"forget": "ids.txt"}, r"1 not found \(ids.txt\); expected a list"),
        ({"forget": [True]}, "a mask of 1; expected 36"),
        ({"forget": np.arange(COUNT) == 3, "patients": PATIENTS}, "1 patients in part"),
        ({"patients": PATIENTS[1:]}, "35 patients given; expected 36"),
        ({"holdout": (images()[:, :, 4:], LABELS)}, r"images of \(1, 28, 32\).* of \(1, 32, 32\)"),
        ({"holdout": (np.uint8(images()), LABELS)}, "float32 and of .*uint8; expected one kind"),
        ({"recipe": {"epoch": 3}}, "epoch: is no field here; did you mean 'epochs'"),
        ({"recipe": {"epochs": 0}}, "epochs: given 0; expected greater than or equal to 1"),
        ({"head": "classifier"}, "'classifier' is no layer; choose from"),
        ({"factory": Plain, "method": "retrain"}, "is another network: bn1.bias"),
        ({"checkpoint": Plain(), "method": "r2d"}, "checkpoint: 1 fault"),
        ({"method": "r2d"}, "needs a checkpoint"),
        ({"model": ResNet50().state_dict()}, "build your network, then .*load_state_dict"),
        ({"model": TwoHeaded()}, r"gives \(2, 3\), \(2, 1\); expected one tensor of logit"),
        ({"model": ResNet50().requires_grad_(False)}, "every parameter is frozen"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_remedy(change, said):
    given = {"images": images(), "labels": LABELS, "forget": ROWS, "method": "finetune", **change}
    with pytest.raises(InputError, match=said):
        unlearn(**{"model": trained(), **given})


def test_all_faults_are_told_at_once():
    with pytest.raises(InputError) as error:
        unlearn(trained(), images(), LABELS[:5], forget=[99], method="kde", patients=[1, 2])
    assert [fault.partition(":")[0] for fault in error.value.faults] == [
        "holdout", "images", "images", "forget",
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["finetune", "salun", "uam", "ssd", "fisher", "retrain", "eu_k"])
def test_frozen_parameters_stay_frozen_and_keep_their_bits(method):
    model = copy.deepcopy(trained())
    model.layer1.requires_grad_(False)
    model.conv1.requires_grad_(False)
    unlearned = unlearn(model, images(), LABELS, forget=ROWS, method=method, recipe=RECIPE,
                        **QUICK.get(method, {}))  # fmt: skip
    new = dict(unlearned.named_parameters())
    kept = {name: torch.equal(new[name], old) for name, old in model.named_parameters()}
    for name, old in model.named_parameters():
        assert new[name].requires_grad == old.requires_grad
        assert kept[name] or old.requires_grad, name
    assert not all(kept.values())


def test_weights_in_channels_last_are_taken_channels_first_and_given_back_as_they_were():
    """Behind frozen layers a GroupNorm in channels last crashes torch 2.13."""
    layers = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3), nn.GroupNorm(4, 8), nn.Flatten()
    model = nn.Sequential(*layers, nn.Linear(28 * 28 * 8, CLASSES))
    model[:2].requires_grad_(False)
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    assert borrow(last, "cpu")[1].weight.is_contiguous()  # first: what follows may end the process
    told = {"forget": ROWS, "method": "finetune", "recipe": RECIPE, "epochs": 1}
    a, b = (unlearn(each, images(), LABELS, **told).state_dict() for each in (model, last))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert b["1.weight"].stride() == last[1].weight.stride() != model[1].weight.stride()


class OneLogit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(1024, 1))

    def forward(self, x):
        return self.network(x)[:, 0]


def test_one_logit_is_trained_by_the_cross_entropy_of_its_sigmoid():
    """One step of ascent, against one by hand."""
    torch.manual_seed(0)
    model, labels = OneLogit(), (LABELS > 0).astype(float)
    plain = {"momentum": 0.0, "weight_decay": 0.0, "batch_size": 32}
    unlearned = unlearn(model, images(), labels, forget=ROWS, method="neg_grad", epochs=1,
                        learning_rate=0.1, recipe=plain)  # fmt: skip
    by_hand = copy.deepcopy(model)
    logits = by_hand(torch.tensor(images()[ROWS]))
    F.binary_cross_entropy_with_logits(logits, torch.tensor(labels[ROWS]).float()).backward()
    with torch.no_grad():
        for weight in by_hand.parameters():
            weight += 0.1 * weight.grad
    for new, expected in zip(unlearned.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(new, expected)
    assert unlearned(torch.tensor(images())).shape == (COUNT,)


def test_retraining_starts_from_a_network_that_has_seen_nothing():
    recipe = {**RECIPE, "learning_rate": 1e-12}  # as good as none: what is left is the start
    zero, one = (
        unlearn(trained(), images(), LABELS, forget=ROWS, method="retrain", recipe=recipe, seed=s)
        for s in (0, 1)
    )
    for key, start in zero.state_dict().items():
        if start.ndim > 1:
            assert not (start == trained().state_dict()[key]).any(), key
            assert not (start == one.state_dict()[key]).any(), key
        elif key.endswith("bn1.weight"):
            assert (start == 1).all(), key


def test_a_factory_makes_the_untrained_network():
    def ones() -> nn.Module:
        network = ResNet50()
        nn.init.constant_(network.fc.bias, 7.0)
        return network

    unlearned = unlearn(trained(), images(), LABELS, forget=ROWS, method="retrain", factory=ones,
                        recipe={**RECIPE, "learning_rate": 1e-12})  # fmt: skip
    torch.testing.assert_close(unlearned.fc.bias, torch.full((CLASSES,), 7.0))


class Positions(nn.Module):
    """Has a parameter that nothing can reset, as position embeddings are."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(1024))
        self.head = nn.Linear(1024, CLASSES)

    def forward(self, x):
        return self.head(x.flatten(1) + self.positions)


def test_a_network_that_cannot_be_drawn_anew_asks_for_a_factory():
    told = {"forget": ROWS, "method": "bad_teacher"}
    with pytest.raises(InputError, match="nothing resets positions: give factory="):
        unlearn(Positions(), images(), LABELS, **told)
    unlearn(Positions(), images(), LABELS, factory=Positions, **told)


@pytest.mark.parametrize(
    ("normalise", "scale"),
    [((0.5, 0.25), lambda x: (x / np.float32(255) - 0.5) / 0.25),
     (lambda x: x.float() * 2, lambda x: x * np.float32(2))],
)  # fmt: skip
def test_grey_values_are_scaled_as_asked(normalise, scale):
    grey, told = (images() * 255).round().astype(np.uint8), {"forget": ROWS, "method": "finetune"}
    scaled = unlearn(trained(), grey, LABELS, normalise=normalise, **told)
    by_hand = unlearn(trained(), scale(grey), LABELS, **told)
    for one, other in zip(scaled.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["salun", "sisa"])
def test_running_statistics_are_those_of_the_retain_set(method):
    told = {"method": method, "recipe": RECIPE | {"batch_size": 64}}
    unlearned = unlearn(trained(), images(), LABELS, forget=ROWS, **told)
    retain = torch.tensor(np.delete(images(), ROWS, axis=0))
    for network in getattr(unlearned, "members", [unlearned]):
        with torch.no_grad():
            seen = network.conv1(retain)
        torch.testing.assert_close(network.bn1.running_mean, seen.mean((0, 2, 3)))
        torch.testing.assert_close(network.bn1.running_var, seen.var((0, 2, 3)))


def test_the_seed_decides_every_byte():
    def unlearned(seed: int) -> bytes:
        model = nn.Sequential(copy.deepcopy(trained()), nn.Dropout(0.5))
        return state_bytes(unlearn(model, images(), LABELS, forget=ROWS, method="finetune",
                                   seed=seed))  # fmt: skip

    torch.manual_seed(1)
    first = unlearned(0)
    torch.manual_seed(2)
    assert unlearned(0) == first
    assert unlearned(1) != first


def warned(model=None, pixels=None, labels=LABELS, **told) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        given = images() if pixels is None else pixels
        unlearn(model or trained(), given, labels, forget=ROWS, **told)
    assert all(str(w.filename) == __file__ for w in caught)  # where the user called
    return [str(w.message) for w in caught]


def test_nothing_is_said_where_nothing_is_wrong():
    assert warned(method="salun") == []


@pytest.mark.parametrize("method", ["original", "salun"])
def test_running_statistics_of_another_scale_are_noticed(method):
    (said,) = warned(pixels=images() * 255, method=method)
    assert "statistics of BatchNorm do not fit these images (balanced accuracy on the" in said
    assert "0.67; with statistics of these images 1.00): give the scale" in said


def test_a_network_that_does_not_know_its_images_answers_at_chance():
    torch.manual_seed(0)
    model = fit(Positions())
    assert warned(model, method="original") == []
    (said,) = warned(model, -images(), method="original")
    assert "answers at chance on the retain set" in said
    assert "give the scale" in said


def test_a_result_of_one_class_is_noticed():
    said = warned(method="neg_grad", learning_rate=0.5, epochs=5)
    assert any("answers one class only" in each or "diverged" in each for each in said)


@pytest.mark.parametrize(
    ("method", "settings"), [("ssd", {"alpha": 1e6}), ("neg_grad", {"learning_rate": 1e-9})]
)
def test_a_method_that_did_nothing_is_noticed(method, settings):
    (said,) = warned(method=method, **settings)
    assert f"{method} did nothing: log-odds of the true class moved by 0.000" in said
    assert "Choose stronger settings than" in said


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize(("home", "device"), [*product(("cpu", "cuda"), ("cpu", "cuda", None))])
def test_it_is_computed_where_asked_and_lies_where_it_was(home, device):
    model = copy.deepcopy(trained()).to(home)
    for method in ("finetune", "retrain"):
        unlearned = unlearn(model, images(), LABELS, forget=ROWS, method=method, device=device,
                            recipe=RECIPE)  # fmt: skip
        assert {v.device.type for v in unlearned.state_dict().values()} == {home}
