"""Checkpoints: written so that they hold nothing but tensors and plain values, loaded so that nothing else can run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import mmengine.runner.checkpoint as stock
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner import CheckpointLoader
from torch.hub import load_state_dict_from_url

SAVED = re.compile(r'(?:iter|epoch)_(\d+)\.pth')
"""Names of the checkpoints that a run writes; group 1 is how far it was."""


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str | Path, map_location: Any = None) -> dict[str, Any]:
    """A checkpoint file, read with `weights_only=True` and no fallback; mmengine's loader of local files is replaced.

    It serves `--resume`, `load_from` and `init_cfg=dict(type='Pretrained')` alike.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file would run code when unpickled, or is no checkpoint; nothing of it was run.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such checkpoint; put it there, or set init_cfg=None in the config to start from random weights'
        )
    return load_plain(path, map_location)


def load_plain(file: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
    """A checkpoint from a file or a buffer; takes the place of mmengine's `_safe_torch_load`.

    Args:
        file: path or buffer.
        map_location: as of `torch.load`.
        weights_only: is always True; the argument is that of the function which this one replaces.
    """
    with _errors_of(file):
        return _without_code(torch.load(file, map_location=map_location, weights_only=True))


def load_url(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True) -> dict[str, Any]:
    """A checkpoint from the internet, kept in torch's cache; takes the place of the function of that name there."""
    with _errors_of(url):
        return _without_code(load_state_dict_from_url(url, model_dir, map_location, progress, weights_only=True))


# mmengine's other loaders ('https://', 'torchvision://', 'open-mmlab://', 's3://', ...) end in one of these two, the
# first of which falls back to running what it finds, and the second of which always does.
stock._safe_torch_load = load_plain
stock.load_url = load_url


@contextmanager
def _errors_of(name: Any) -> Iterator[None]:
    """Readable errors of reading the checkpoint `name`."""
    try:
        yield
    except UnpicklingError as error:
        # torch says how to switch the protection off; users need to know what it found.
        found = re.search(r'[^.\n]*(unsupported|unrecognized|disallowed)[^\n]*', str(error), re.IGNORECASE)
        reason = found[0].strip()[:120] if found else 'not unpicklable'
        if not found or 'operand' in reason:
            raise ValueError(
                f'{name}: not a checkpoint of tensors and plain values ({reason}), and nothing of it was run; is it '
                'another kind of file, or cut off?'
            ) from None
        raise ValueError(
            f'{name}: refused, because it holds more than tensors and plain values ({reason}). Nothing of it was run. '
            'If you trust whoever made it, load it yourself and save its weights alone: '
            "torch.save({'state_dict': checkpoint['state_dict']}, new_path)"
        ) from None
    except Exception as error:  # torch.load raises nearly anything for a file that is no checkpoint
        raise ValueError(f'{name}: not a readable checkpoint ({error}); is it cut off?') from None


def _without_code(checkpoint: Any) -> dict[str, Any]:
    if not isinstance(checkpoint, dict):
        raise TypeError(f'it holds a {type(checkpoint).__name__}, not a dict')
    if isinstance(meta := checkpoint.get('meta'), dict):
        # mmengine runs this text as Python when it resumes. Its checkpoints of today call their config `cfg`.
        meta.pop('config', None)
    return checkpoint


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
