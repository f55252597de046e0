"""Checkpoints of a run: written whole or not at all, made of tensors and plain values only, and found again."""

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

from mmmtl.io.checkpoints import SAVED
from mmmtl.io.outputs import whole_file

RECORD = 'last_checkpoint'
"""The file in a work directory that names the newest checkpoint."""

BEST = re.compile(r'best_.+_(?:iter|epoch)_\d+\.pth')
"""Names of the best checkpoints that a run writes."""

PLAIN = (str, bytes, bool, int, float, complex, torch.dtype, type(None))
"""Types that `weights_only=True` loads besides tensors, dicts, lists and tuples; it does not load subclasses."""


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """A local backend whose files appear whole or not at all, even if the run is killed while it saves.

    A killed run leaves a temporary file behind, which `remove_partial_files` removes when the next one starts.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file whole, and flush it to disk.

        Raises:
            OSError: the disk is full, for instance; a file of that name is as it was.
        """
        try:
            with whole_file(filepath, flush=True) as partial:
                partial.write_bytes(obj)
        except OSError as error:
            raise OSError(error.errno, f'not written ({error.strerror})', str(filepath)) from error

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        self.put(obj.encode(encoding), filepath)


def find_checkpoint(work_dir: str | Path) -> Path | None:
    """Return the checkpoint that `last_checkpoint` in a work directory names, else the most advanced one, or None."""
    work_dir = Path(work_dir)
    record = work_dir / RECORD
    named = os.fsdecode(record.read_bytes()).strip() if record.is_file() else ''
    if named:
        # The work directory may have been moved, or copied: then the file beside another record belongs to that one.
        here, there = work_dir / Path(named).name, Path(named)
        for path in (here, there) if (there.parent / RECORD).is_file() else (there, here):
            if path.is_file():
                return path
    # `last_checkpoint` is empty if the run was killed while writing it. Copying loses file times, so compare numbers.
    numbers = {path: int(match[1]) for path in work_dir.glob('*.pth') if (match := SAVED.fullmatch(path.name))}
    return max(numbers, key=lambda path: numbers[path], default=None)


def check_free(work_dir: str | Path, resumed: str | Path | None = None) -> None:
    """Refuse a work directory in which another training run has left checkpoints, which a new one would replace.

    Args:
        work_dir: work directory of the run.
        resumed: the checkpoint that it continues from; beside it are its own.

    Raises:
        ValueError: there is one of another training run.
    """
    newest = find_checkpoint(work_dir)
    own = [Path(work_dir)] if newest is None else [Path(work_dir), newest.parent]
    if resumed is not None and any(Path(resumed).resolve().parent == folder.resolve() for folder in own):
        return
    if found := newest or next(iter(checkpoints_in(work_dir)), None):
        raise ValueError(
            f'{work_dir}: another training run has left checkpoints ({found}); continue it with --resume, choose '
            'another folder with --work-dir, or remove them with --overwrite'
        )


def checkpoints_in(folder: str | Path) -> list[Path]:
    """Return the checkpoints that a training run has written to a folder, the best ones included."""
    names = (SAVED, BEST)
    return [path for path in sorted(Path(folder).glob('*.pth')) if any(name.fullmatch(path.name) for name in names)]


def make_plain(value: Any, name: str) -> Any:
    """Turn NumPy's numbers and arrays in nested dicts, lists and tuples into Python's.

    Raises:
        ValueError: some value, at `name` or below, would not load with `weights_only=True`.
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
            f'{name} of the checkpoint is a {type(value).__name__}, which cannot be loaded safely; store only tensors, '
            'numbers, strings, and lists and dicts of them'
        )
    return value
