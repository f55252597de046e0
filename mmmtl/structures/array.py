"""The type of a NumPy array whose shape and data type a docstring gives, and a check of the size of images."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def is_size(size: object) -> bool:
    """Return whether this is (height, width), two whole numbers of at least 1."""
    return isinstance(size, (tuple, list)) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)
