"""Unlearning for a network, images and patients of one's own."""
