"""The phantom in the laptop profile: what there is to forget, and what every method does to it."""

import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from medunlearn.cost import Clock
from medunlearn.evaluation.performance import probabilities
from medunlearn.evaluation.predictions import predict
from medunlearn.evaluation.scores import levels_by_partition
from medunlearn.methods import get_method
from medunlearn.study.builder import Builder
from medunlearn.study.design import make_cell, original, retrained, unlearned
from medunlearn.study.profile import PROFILES, panel
from medunlearn.study.study import PROJECT, open_study
from medunlearn.training import reestimate_statistics

pytestmark = pytest.mark.slow
SEED = 9000  # that no reported result uses
# the laptop's 550 patients to train on and 2 x 150 for validation, but a tenth of those to test
COHORT = {"patients": 1000, "partition": {"train": 0.55, "validation": 0.3, "test": 0.15}}
CELL = make_cell("random", 0.2, "seed")  # 110 patients: accuracy moves in steps of a point
HARDLY = 1 / 3  # of the gap; two seeds gave at most .24 for the methods that say so


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Every method at its usual settings; an original and a retrained model."""
    runs = tmp_path_factory.mktemp("laptop")
    manifest, own = runs / "phantom.yaml", runs / "laptop.yaml"  # own: nobody has tuned it
    phantom = yaml.safe_load((PROJECT / "data_manifests" / "phantom.yaml").read_text())
    manifest.write_text(yaml.safe_dump({**phantom, **COHORT}))
    profile = yaml.safe_load(PROFILES.read_text())["laptop"]
    profile |= {"methods": {method: {} for method in panel()}, "max_patients": None}
    own.write_text(yaml.safe_dump(profile))
    builder = Builder(open_study(str(manifest), str(own), runs=str(runs), device="cpu"))
    builder.train([original(SEED), retrained(CELL, SEED)])
    return builder


@pytest.fixture(scope="module")
def levels(builder: Builder) -> pd.DataFrame:
    """Accuracy on retain and forget set, and without the patients whose labels are noise.

    The models are not stored, so that nothing is paid for but predictions of training images.
    ``sisa`` is left out: its gap to its own retraining is 0 by construction.
    """
    table = builder.study.cohort.table
    train = table[table["partition"] == "train"].reset_index(drop=True)
    forgotten = set(builder.store.forget_set(retrained(CELL, SEED)).patients)
    clean = forgotten - set(train.loc[train["noisy_label"], "patient"])
    start, found = builder.trained(original(SEED)), {}
    models = {"original": start, "retrained": builder.trained(retrained(CELL, SEED))}
    methods = [name for name in panel() if not get_method(name).own_training]
    for method in ["original", "retrained", *methods]:
        if method not in models:
            task = builder.task(unlearned(method, CELL, SEED), Clock())
            models[method] = get_method(method)(start, task, seed=SEED)
            reestimate_statistics(models[method], task.retain)
        logits = predict(models.pop(method), builder.images, samples=train["sample"].to_numpy())
        found[method] = levels_by_partition(logits, train, forgotten)
        found[method]["clean"] = levels_by_partition(logits, train, clean)["forget"]
    levels = pd.DataFrame(found).T.drop(columns="test")
    print("\n" + (100 * levels).round(1).to_string())
    return levels


def test_a_method_that_claims_to_forget_moves_towards_retraining_or_says_that_it_does_not(levels):
    start, goal = levels.loc[["original", "retrained"], "forget"]
    assert start - goal >= 0.05
    for name in levels.index.drop(["original", "retrained"]):
        method, moved = get_method(name), start - levels.loc[name, "forget"]
        if "Hardly moves the forget gap" in method.function.__doc__:
            assert moved < HARDLY * (start - goal), f"{name} does move: say so"
        elif method.forgets:
            assert moved > 0, name


def test_models_that_fail_after_fine_tuning_have_lagging_statistics_and_not_bad_weights(levels):
    """With BatchNorm's statistics taken anew from the retain set, the model fits it again.

    Images of one view are so alike that a channel varies over places more than over patients: a
    small lag of its running mean moves all patients at once.
    """
    assert levels.loc["finetune", "retain"] > 0.7


def test_the_original_memorises_and_label_noise_alone_does_not_buy_it(levels):
    assert (levels.loc["original"] - levels.loc["retrained"])[["forget", "clean"]].min() >= 0.05


def test_a_retrained_network_finds_the_true_labels(builder: Builder) -> None:
    table = builder.study.cohort.table
    test = table[table["partition"] == "test"]
    scores = probabilities(builder.logits(retrained(CELL, SEED)))[test["sample"]]
    area = roc_auc_score(test["true_label"], scores, multi_class="ovr", average="macro")
    assert 0.75 <= area < 0.99  # two seeds gave .87 and .83
