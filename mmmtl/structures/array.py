"""The type of a NumPy array whose shape and data type a docstring gives."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
