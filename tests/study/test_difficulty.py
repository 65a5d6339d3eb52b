"""Difficulty on the embedded cohort, whose truth is known."""

from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from medunlearn.evaluation.difficulty import RELIABLE, reliability
from medunlearn.study.builder import Builder
from medunlearn.study.design import references
from medunlearn.study.study import open_study


@pytest.mark.slow
def test_models_that_never_saw_a_patient_rank_findings_and_find_wrong_labels(tmp_path: Path):
    study = open_study("phantom", "quick", runs=str(tmp_path), device="cpu")
    study = replace(study, profile=study.profile.model_copy(update={"references": 16}))
    builder = Builder(study)
    builder.train(references(study.profile))
    known, table = builder.store.references(), study.cohort.table
    confidence, noisy = known.confidence(), table["noisy_label"].astype(bool)
    for partition in ("train", "test"):
        inside = table["partition"] == partition
        assert reliability(known, partition) >= RELIABLE
        assert roc_auc_score(noisy[inside], -confidence[inside]) >= 0.7
        seen = inside & (table["conspicuity"] > 0) & ~noisy
        assert spearmanr(table["conspicuity"][seen], confidence[seen]).statistic >= 0.35
