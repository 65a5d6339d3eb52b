import numpy as np
import pytest

from medunlearn.evaluation.performance import Predicted, Subset, probabilities


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
