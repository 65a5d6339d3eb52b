"""A reproducible study of machine unlearning in medical imaging."""

__version__ = "0.1.0"
