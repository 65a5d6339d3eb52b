"""A reproducible study of machine unlearning in medical imaging."""

import warnings

__version__ = "0.1.0"

# MONAI imports tqdm's bars for notebooks; without ipywidgets these warn, and bars are plain text
warnings.filterwarnings("ignore", "IProgress")
