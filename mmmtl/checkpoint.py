"""Checkpoints: written so that they hold nothing but tensors and plain values, loaded so that nothing else can run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import mmengine.runner.checkpoint as stock
import numpy as np
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn
from torch.hub import load_state_dict_from_url

from mmmtl.tasks import build_tasks

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


PLAIN = (str, bytes, bool, int, float, complex, torch.dtype, type(None))
"""What `weights_only=True` loads, beside tensors, and dicts, lists and tuples of it; none of their subclasses."""


def trained_tasks(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Configs of the tasks that a checkpoint was trained for; none for weights from elsewhere."""
    return ((checkpoint.get('meta') or {}).get('dataset_meta') or {}).get('tasks') or {}


def weights_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The weights of a checkpoint, which may also be nothing but these; without the prefix of a wrapped model."""
    weights = checkpoint.get('state_dict', checkpoint)
    return {str(name).removeprefix('module.'): value for name, value in weights.items()}


def check_tasks(wanted: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that was not trained for all of the wanted tasks, each with the same definition.

    Raises:
        ValueError: names the tasks that differ.
    """
    if absent := [name for name in wanted if name not in trained]:
        shared = ','.join(name for name in wanted if name in trained)
        choose = f', or choose with --tasks {shared}' if shared else ''
        raise ValueError(
            f'the checkpoint was trained for the tasks {sorted(trained)} and knows nothing of {absent}; use a config '
            f"with those tasks{choose}. To start from its backbone alone, set init_cfg=dict(type='Pretrained', "
            "checkpoint=..., prefix='backbone.') there."
        )
    ours = build_tasks(wanted, 'the model')
    # Of its other tasks, the kinds may not be known here.
    theirs = build_tasks({name: trained[name] for name in ours}, 'the checkpoint')
    for name, task in ours.items():
        mine, other = task.definition(), theirs[name].definition()
        if differing := [key for key in mine if mine[key] != other.get(key)]:
            details = ', '.join(f'{key}: {_short(mine[key])} here, {_short(other.get(key))} there' for key in differing)
            raise ValueError(f'task {name!r} of the checkpoint is not that of this config ({details})')


def check_weights(model: nn.Module, weights: Mapping[str, Any], *, partly: bool = False) -> None:
    """Refuse weights that do not fit, where mmengine would only warn and go on with those that a model began with.

    Args:
        model: may be wrapped, for several processes or for test-time augmentation.
        weights: by name; those that the model does not have are let pass.
        partly: that some of the model's are missing or have other shapes is let pass too, but not that all do.

    Raises:
        ValueError: names the weights.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.get_submodule('module')
    wanted = {name: value for name, value in model.state_dict().items() if 'num_batches_tracked' not in name}
    unfit = [name for name, value in wanted.items() if getattr(weights.get(name), 'shape', None) != value.shape]
    if unfit and not (partly and len(unfit) < len(wanted)):
        raise ValueError(
            f'the checkpoint is of another model: of the {len(wanted)} weights of this one it lacks {len(unfit)}, or '
            f'has them in another shape ({some_names(unfit)}); use it with the config that it was trained with'
        )


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


def some_names(names: Sequence[str]) -> str:
    """Return the first three names of a list, for a message."""
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else f'{text[:57]}...'
