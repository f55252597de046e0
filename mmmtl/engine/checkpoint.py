"""Checkpoints: written so that they hold nothing but tensors and plain values, loaded so that nothing else can run."""

from __future__ import annotations

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner import CheckpointLoader


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """A checkpoint file, read with `weights_only=True` and no fallback; mmengine's loader of local files is replaced.

    It serves `--resume`, `load_from` and `init_cfg=dict(type='Pretrained')` alike.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file would run code when unpickled, or is no checkpoint; nothing of it was run.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such checkpoint')
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f'{path}: refused, because it holds more than tensors and plain values ({reason}). Nothing of it was run. If '
            'you trust whoever made it, load it yourself and save its state_dict alone: '
            "torch.save({'state_dict': checkpoint['state_dict']}, new_path)"
        ) from None
    except (EOFError, RuntimeError, OSError) as error:
        raise ValueError(f'{path}: not a readable checkpoint ({error}); is it cut off?') from None


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """Local files that appear whole or not at all: a run that is killed while it saves leaves no torn checkpoint."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes to a temporary file, flush it to the disk, and move it into place."""
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
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
    """The newest checkpoint of a work directory, or None: what `last_checkpoint` names, or else the last one written."""
    work_dir = Path(work_dir)
    record = work_dir / 'last_checkpoint'
    named = record.read_text().strip() if record.is_file() else ''
    if named:
        # Work directories may have been moved as a whole.
        for path in (work_dir / Path(named).name, Path(named)):
            if path.is_file():
                return path
    files = [*work_dir.glob('iter_*.pth'), *work_dir.glob('epoch_*.pth')]
    return max(files, key=lambda path: path.stat().st_mtime, default=None)
