"""Predictions, and what is measured on them."""
