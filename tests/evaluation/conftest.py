import numpy as np
import pandas as pd
import pytest

from medunlearn.evaluation.difficulty import References
from medunlearn.evaluation.performance import Predicted, probabilities
from medunlearn.evaluation.subsets import Subset


def make_subset(random, *, images=400, patients=120, classes=4):
    owners = random.integers(0, patients, images)
    labels = random.integers(0, classes, images)
    return Subset(np.arange(images), owners, labels, labels, reference=0)


def make_predicted(random, subset, *, classes=4, skill=1.0, decimals=1):
    logits = (
        random.normal(size=(len(subset.labels), classes)) + skill * np.eye(classes)[subset.labels]
    )
    return Predicted(probabilities(logits.round(decimals).astype(np.float32)), threshold=0.8)


@pytest.fixture(params=[2, 4])
def case(request):
    """Images of several patients with rounded scores, so that there are ties."""
    random = np.random.default_rng(9000 + request.param)
    subset = make_subset(random, classes=request.param)
    return subset, make_predicted(random, subset, classes=request.param)


MODELS, TRAIN, TEST = 16, 300, 150


def make_references(noise: float, *, memory: float = 0.0, models: int = MODELS, seed: int = 0):
    """Two classes; a sample has a true confidence, models add noise and, if they saw it, memory."""
    rng = np.random.default_rng(seed)
    samples = TRAIN + TEST
    table = pd.DataFrame(
        {
            "sample": np.arange(samples),
            "patient": np.arange(samples) // 2,
            "partition": np.repeat(["train", "test"], [TRAIN, TEST]),
            "sex": "F",
            "label": rng.integers(0, 2, samples),
        }
    )
    halves = [rng.permutation(TRAIN // 2) < TRAIN // 4 for _ in range(models // 2)]
    seen = np.zeros((models, samples), bool)
    for pair, half in enumerate(halves):
        seen[2 * pair, :TRAIN], seen[2 * pair + 1, :TRAIN] = np.repeat([half, ~half], 2, axis=1)
    truth = rng.normal(1, 1, samples)
    confidence = truth + memory * seen + noise * rng.normal(size=(models, samples))
    sign = np.where(table["label"] == 1, 1, -1)
    logits = np.stack([-sign * confidence / 2, sign * confidence / 2], axis=-1)
    return References(logits.astype(np.float32), seen, table), truth
