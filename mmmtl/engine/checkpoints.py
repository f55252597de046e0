"""The checkpoints of a run: written whole or not at all, of tensors and plain values only, and found again."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.fileio import LocalBackend, register_backend
from torch import Tensor

SAVED = re.compile(r'(?:iter|epoch)_(\d+)\.pth')
"""Names of the checkpoints that a run writes; group 1 is how far it was."""

PLAIN = (str, bytes, bool, int, float, complex, torch.dtype, type(None))
"""What `weights_only=True` loads, beside tensors, and dicts, lists and tuples of it; none of their subclasses."""


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """Local files that appear whole or not at all: a run that is killed while it saves leaves no torn checkpoint."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes to a temporary file, flush it to the disk, and move it into place."""
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        # One name for all attempts: what a killed run left is overwritten when it is resumed.
        temporary = path.with_name(f'.{path.name}.tmp')
        try:
            with open(temporary, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """`put` for text."""
        self.put(obj.encode(encoding), filepath)


def find_checkpoint(work_dir: str | Path) -> Path | None:
    """The newest checkpoint of a work directory, or None: what `last_checkpoint` names, or else the farthest one."""
    work_dir = Path(work_dir)
    record = work_dir / 'last_checkpoint'
    named = record.read_text().strip() if record.is_file() else ''
    if named:
        # Work directories may have been moved as a whole.
        for path in (work_dir / Path(named).name, Path(named)):
            if path.is_file():
                return path
    # A run that was killed while it wrote `last_checkpoint` left it empty. Copies have no times to go by.
    numbers = {path: int(match[1]) for path in work_dir.glob('*.pth') if (match := SAVED.fullmatch(path.name))}
    return max(numbers, key=lambda path: numbers[path], default=None)


def make_plain(value: Any, name: str) -> Any:
    """`value` with NumPy's numbers and arrays as Python's.

    Args:
        value: nested dicts, lists and tuples.
        name: of the value, for the message.

    Raises:
        ValueError: there is something in it that `weights_only=True` would not load.
    """
    if isinstance(value, Mapping):
        return {make_plain(key, name): make_plain(item, f'{name}.{key}') for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [make_plain(item, name) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if not isinstance(value, Tensor) and type(value) not in PLAIN:
        raise ValueError(
            f'{name} of the checkpoint is a {type(value).__name__}, which could not be loaded safely; only tensors, '
            'numbers, strings, and lists and dicts of them can be stored'
        )
    return value
