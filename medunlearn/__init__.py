"""A reproducible study of machine unlearning in medical imaging."""

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medunlearn.unlearning.call import unlearn

__all__ = ["unlearn"]
__version__ = "0.1.0"

# MONAI imports tqdm's bars for notebooks; without ipywidgets these warn, and bars are plain text
warnings.filterwarnings("ignore", "IProgress")


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: commands that only look do without torch."""
    if name == "unlearn":
        from medunlearn.unlearning.call import unlearn

        return unlearn
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
