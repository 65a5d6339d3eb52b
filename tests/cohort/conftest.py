import numpy as np
import pandas as pd
import pytest

from medunlearn.cohort.partition import partition_patients, patient_table
from medunlearn.randomness import stream


@pytest.fixture(scope="session")
def cohort_table() -> pd.DataFrame:
    """1,000 patients with 1 to 3 images, classes 60/30/10, women 40 %."""
    random = np.random.default_rng(9000)
    images = random.integers(1, 4, 1000)
    patients = np.repeat(np.arange(1000), images)
    sexes = np.where(random.random(1000) < 0.4, "F", "M")
    table = pd.DataFrame(
        {
            "sample": np.arange(len(patients)),
            "patient": patients,
            "sex": pd.Series(sexes[patients], dtype=object),
            "label": random.choice(3, len(patients), p=[0.6, 0.3, 0.1]),
        }
    )
    shares = {"train": 0.5, "validation": 0.2, "test": 0.3}
    partition = partition_patients(patient_table(table), shares, stream("test partition"))
    return table.assign(partition=table["patient"].map(partition))
