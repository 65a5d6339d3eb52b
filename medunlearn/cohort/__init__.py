"""Patients, images, partitions and forget sets."""
