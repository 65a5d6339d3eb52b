"""How difficult the patients of a study are, and what is memorised of them."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from medunlearn.figures.style import GROUP_STYLES, new_figure


def plot_difficulty(difficulty: pd.DataFrame, cohort: pd.DataFrame) -> Figure:
    """What seeing a patient adds to confidence, and confidence on the test set by stratum."""
    table = cohort.merge(difficulty, on="sample")
    text = "Left: memorisation by tenths of confidence. Right: confidence on the test set."
    figure, (left, right) = new_figure(text, 2, width=9, height=3.4)
    train = table.dropna(subset="memorisation")
    train = train.assign(tenth=pd.qcut(train["confidence_out"], 10, labels=False))
    means = train.groupby("tenth")[["confidence_out", "memorisation"]].mean()
    left.plot(means["confidence_out"], 100 * means["memorisation"], "ko-", markersize=5)
    left.set(
        xlabel="confidence unseen (log odds), tenths",
        ylabel="right if seen - unseen (points)",
        title="training images: memorised",
    )
    strata = {name: GROUP_STYLES[name]["color"] for name in ("easy", "medium", "hard")}
    test = table[table["partition"] == "test"]
    look = {"palette": strata, "hue_order": list(strata), "bins": 40, "alpha": 0.7}
    sns.histplot(test, x="confidence_out", hue="stratum", ax=right, **look)
    right.set(xlabel="confidence (log odds)", ylabel="images", title="test set, by stratum")
    return figure
