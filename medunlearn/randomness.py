"""Named streams of random numbers: whatever is drawn can be drawn again."""

import hashlib

import numpy as np


def stream(*names: str | int) -> np.random.Generator:
    """A generator of its own for the thing named, independent of every other name.

    Args:
        names: The path of the name, for example ``("init", 3)``. 0 is a name like any other.

    Returns:
        A fresh generator; the same names give the same numbers, other names other numbers.
    """
    path = "/".join(str(name) for name in names)
    digest = hashlib.sha256(path.encode()).digest()
    return np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest, "big")))
