"""The embedded cohort in the laptop profile: learnable, and with much to forget."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medunlearn.evaluation.performance import probabilities
from medunlearn.study.models import middle_cell, original, retrained
from medunlearn.study.study import Study
from medunlearn.study.workbench import Workbench
from tests.study.conftest import DEVELOPMENT_SEEDS


def gap(study: Study, bench: Workbench, patients: set[int]) -> float:
    """Accuracy of the original minus that of the retrained model, patients weighing the same."""
    cell = middle_cell(study.profile)
    table = study.cohort.table
    rows = table[table["patient"].isin(patients)]
    gaps = []
    for seed in DEVELOPMENT_SEEDS:
        right = [
            pd.Series(bench.logits(spec).argmax(1) == table["label"])[rows.index]
            for spec in (original(seed), retrained(cell, seed))
        ]
        difference = right[0].astype(int) - right[1].astype(int)
        gaps.append(difference.groupby(rows["patient"]).mean().mean())
    return float(np.mean(gaps))


@pytest.mark.slow
def test_the_original_memorises_and_label_noise_alone_does_not_buy_it(
    laptop_bench: Workbench,
) -> None:
    bench = laptop_bench
    study = bench.study
    forgotten = set(bench.ledger.draws.of(retrained(middle_cell(study.profile), 9000)).patients)
    table = study.cohort.table
    noisy = set(table.loc[table["noisy_label"], "patient"])
    assert gap(study, bench, forgotten) >= 0.05
    assert gap(study, bench, forgotten - noisy) >= 0.05


@pytest.mark.slow
def test_a_retrained_network_finds_the_true_labels(laptop_bench: Workbench) -> None:
    bench = laptop_bench
    study = bench.study
    cell = middle_cell(study.profile)
    test = study.cohort.table[study.cohort.table["partition"] == "test"]
    areas = []
    for seed in DEVELOPMENT_SEEDS:
        scores = probabilities(bench.logits(retrained(cell, seed)))[test["sample"]]
        areas.append(roc_auc_score(test["true_label"], scores, multi_class="ovr", average="macro"))
    assert np.mean(areas) >= 0.80
    assert max(areas) < 0.99
