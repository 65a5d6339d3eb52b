import pytest
import yaml

from medunlearn.batches import Recipe
from medunlearn.errors import InputError
from medunlearn.methods import METHOD_NAMES, get_method
from medunlearn.study.profile import PROFILES, load_profile, panel, settings_of
from tests.conftest import TINY

STREAM, ANEW = {"requests": 4, "up_to": 0.2, "methods": ["finetune"]}, ("eu_k", "r2d", "sisa")


@pytest.mark.parametrize("name", yaml.safe_load(PROFILES.read_text()))
def test_every_profile_is_sound(name):
    profile = load_profile(name)
    assert profile.middle_size in profile.forget_sizes


@pytest.mark.parametrize("name", ["quick", "laptop", "full"])
def test_no_method_takes_more_than_a_fifth_of_the_trainings_epochs(name):
    """Else the claim about cost would be decided by construction."""
    profile = load_profile(name)
    training = profile.training.model_dump()
    recipe = Recipe(profile.network, 1, 2, horizontal_flip=False, **training)
    for method, settings in profile.methods.items():
        epochs = {**get_method(method).usual(recipe), **settings}.get("epochs", 0)
        assert epochs <= 0.2 * profile.training.epochs, method


def test_all_faults_of_a_profile_are_told_at_once(tmp_path):
    faulty = {
        **TINY,
        "seeds": 0,
        "network": "vgg",
        "colour": 1,
        "forget_sizes": [1.5],
        "methods": {"salunn": {}},
    }
    (tmp_path / "faulty.yaml").write_text(yaml.safe_dump(faulty))
    with pytest.raises(InputError) as error:
        load_profile(str(tmp_path / "faulty.yaml"))
    said = str(error.value)
    assert all(word in said for word in ("seeds", "network", "colour", "forget_sizes", "salunn"))


def test_a_profile_takes_from_its_base_what_it_does_not_say(tmp_path):
    own, base = tmp_path / "own.yaml", load_profile("quick")
    own.write_text(
        "base: quick\nseeds: 3\ntraining: {epochs: 4}\nmethods: {ssd: {}}\nconfirmatory: []\n"
    )
    changes = {"seeds": 3, "methods": {"ssd": {}}, "confirmatory": []}
    changes["training"] = base.training.model_copy(update={"epochs": 4})
    assert load_profile(str(own)) == base.model_copy(update=changes)
    own.write_text("base: quik\n")
    with pytest.raises(InputError, match=r"base: given 'quik'; did you mean 'quick'\?") as error:
        load_profile(str(own))
    assert len(error.value.faults) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"methods": {"fine_tune": {}}}, "did you mean 'finetune'"),
        ({"methods": {"salun": {"share_": 1}}}, "setting 'share_' of method 'salun' is not known"),
        ({"methods": {"retrain": {}}}, "method 'retrain' is not known"),
        ({"middle_size": 0.3}, "middle_size: given 0.3; expected one of the forget sizes"),
        ({"compositions": ["female"]}, "expected 'random' among them"),
        ({"compositions": ["random", "hard"], "references": 0}, "expected at least 2"),
        ({"references": 3}, "multiple of 2"),
        ({"seeds": 9, "floor_seeds": 7}, "floor_seeds is 7: a profile with verdicts needs 8"),
        ({"seeds": 7, "floor_seeds": 8}, "floor_seeds is 8: expected at most as many as seeds, 7"),
        ({"confirmatory": ["finetune", "scrub"]}, "scrub: not among the profile's methods"),
        ({"stream": {**STREAM, "methods": ["scrub"]}}, "scrub: not among the profile's methods"),
        ({"stream": {**STREAM, "requests": 1}}, "requests: .*greater than or equal to 2"),
        (
            {"stream": {**STREAM, "methods": [*ANEW]}, "methods": {name: {} for name in ANEW}},
            "stream: eu_k, r2d, sisa: trains anew at each request",
        ),
        ({"statistics": {**TINY["statistics"], "margins": {"test": 0.03}}}, "attack, forget"),
    ],
)
def test_a_design_that_cannot_be_is_refused(tmp_path, change, said):
    (tmp_path / "faulty.yaml").write_text(yaml.safe_dump({**TINY, **change}))
    with pytest.raises(InputError, match=said):
        load_profile(str(tmp_path / "faulty.yaml"))


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_settings_read_from_the_source_are_those_of_the_function(method):
    assert settings_of(method) == list(get_method(method).settings)


@pytest.mark.parametrize("method", panel())
def test_a_profile_with_a_method_that_reads_a_checkpoint_rewinds(method):
    profile = load_profile("quick").model_copy(update={"methods": {method: {}}})
    assert profile.rewinds == ("checkpoint" in get_method(method).reads)


def test_the_panel_counts_neither_doing_nothing_nor_retraining():
    assert {"original", "retrain"}.isdisjoint(panel())
    assert len(panel()) == len(METHOD_NAMES) - 2
