"""Intervals and tests of contrasts between patients and between runs."""
