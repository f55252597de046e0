"""Checkpoint files: read only if they are whole, finite and within limits; nothing in them can run."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor
from torch.hub import download_url_to_file, get_dir

from .checkpoint_archive import check_archive, readable_checkpoint_errors
from .checkpoint_shape import check_shape
from .safetensors import SUFFIX, read_safetensors

SAVED = re.compile(r'(?:iter|epoch)_(\d+)\.pth')
"""Names of the checkpoints that a run writes; group 1 is the iteration or epoch."""

MAX_DEPTH = 50
"""How deeply dicts and lists may be nested in a checkpoint."""

MAX_VALUES_PER_BYTE = 4
"""How many values a checkpoint may hold for each byte that describes them; lists in lists can stand for billions."""

FEW_VALUES = 100_000
"""A number of values that is always allowed."""

CONTAINERS = (dict, list, tuple, set)


def load_from_local(filename: str | Path, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint file with `weights_only=True` and no fallback, in place of mmengine's function.

    `--resume`, `load_from` and `init_cfg=dict(type='Pretrained')` all use it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or not a checkpoint, holds weights that are not finite, or would run code when
            unpickled; nothing in it was run. The newest whole checkpoint beside it is named.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such checkpoint; check the path. If it is that of a config, put the file there, or start from '
            'random weights with init_cfg=None (for most models --cfg-options model.backbone.backbone.init_cfg=None, '
            'for video models also model.fast_backbone.backbone.init_cfg=None)'
        )
    try:
        return load_plain(path, map_location)
    except ValueError as error:
        whole = _whole_beside(path)
        hint = f' The newest whole checkpoint beside it is {whole}.' if whole else ''
        raise ValueError(f'{error}{hint}') from None


def load_plain(file: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
    """Read a checkpoint from a path or a buffer, in place of mmengine's `_safe_torch_load`.

    `weights_only` exists because that function has it; here it is always True.
    """
    return _load(file, str(file), map_location)


def load_url(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True) -> dict[str, Any]:
    """Read a checkpoint from the internet through torch's cache, in place of mmengine's function of that name."""
    path = download(url, model_dir, progress=progress)
    try:
        return _load(path, url, map_location)
    except ValueError as error:
        raise ValueError(f'{error} To download it again, delete {path}.') from None


def download(url: str, folder: str | Path | None = None, *, progress: bool = True) -> Path:
    """Return the file behind a URL in torch's cache, or in another folder; download it if it is missing."""
    folder = Path(folder or Path(get_dir()) / 'checkpoints')
    path = folder / Path(urlparse(url).path).name
    if not path.is_file():
        with readable_checkpoint_errors(url):
            folder.mkdir(parents=True, exist_ok=True)
            download_url_to_file(url, str(path), progress=progress)
    return path


def _load(file: Any, name: str, map_location: Any) -> dict[str, Any]:
    if isinstance(file, (str, Path)) and Path(file).suffix == SUFFIX:
        checkpoint, described = read_safetensors(Path(file), name)
        size = Path(file).stat().st_size
    else:
        size, described = check_archive(file, name)
        with readable_checkpoint_errors(name):
            checkpoint = _without_code(torch.load(file, map_location=map_location, weights_only=True))
    check_values(checkpoint, name, size=size, described=described)
    check_shape(checkpoint, name)
    check_finite(checkpoint, name)
    return checkpoint


def _without_code(checkpoint: Any) -> dict[str, Any]:
    """Return a checkpoint without text that mmengine would run, and without parts that are None."""
    if not isinstance(checkpoint, dict):
        raise TypeError(f'it holds a {type(checkpoint).__name__}, not a dict')
    for key in [key for key, value in checkpoint.items() if value is None]:
        del checkpoint[key]
    if isinstance(meta := checkpoint.get('meta'), dict):
        # mmengine runs this text as Python when it resumes. Newer checkpoints store their config as `cfg`.
        meta.pop('config', None)
    return checkpoint


def check_values(checkpoint: Mapping[str, Any], name: str, *, size: int, described: int) -> None:
    """Refuse a checkpoint with too many values, dicts and lists nested too deeply, or tensors larger than the file.

    The same list can be an item of a list many times, and so on, so a small file can stand for any number of values.
    Here each is visited once. `size` and `described` are what `check_archive` returns.

    Raises:
        ValueError: more than `MAX_DEPTH` deep, more values than `FEW_VALUES` and `MAX_VALUES_PER_BYTE` allow, or
            more bytes in tensors than in the file.
    """
    measured: dict[int, tuple[int, int]] = {}  # id: values, depth
    storages: dict[int, int] = {}  # address: bytes
    path: set[int] = set()
    stack: list[Any] = [checkpoint]
    while stack:
        item = stack[-1]
        if id(item) in measured:
            stack.pop()
            continue
        values = chain(item.keys(), item.values()) if isinstance(item, dict) else item
        inner = []
        for value in values:
            if isinstance(value, CONTAINERS):
                inner.append(value)
            elif isinstance(value, Tensor) and value.layout == torch.strided and value.device.type != 'meta':
                storages[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        if id(item) not in path:
            path.add(id(item))
            if any(id(value) in path for value in inner):
                raise ValueError(f'{name}: refused because a list or dict in it contains itself')
            stack += {id(value): value for value in inner if id(value) not in measured}.values()
        else:
            stack.pop()
            path.remove(id(item))
            parts = [measured[id(value)] for value in inner]
            measured[id(item)] = (
                len(item) + sum(count for count, _ in parts),
                1 + max((depth for _, depth in parts), default=0),
            )
    count, depth = measured[id(checkpoint)]
    if depth > MAX_DEPTH:
        raise ValueError(f'{name}: refused because its values are nested {depth} deep; {MAX_DEPTH} are allowed')
    if count > FEW_VALUES + MAX_VALUES_PER_BYTE * described:
        raise ValueError(f'{name}: refused because lists in lists stand for {count:.3g} values in {described} bytes')
    if sum(storages.values()) > size:
        raise ValueError(
            f'{name}: refused because its tensors take {sum(storages.values())} bytes, the file only {size}'
        )


def check_finite(checkpoint: Mapping[str, Any], name: str) -> None:
    """Raise a ValueError if some weights of a checkpoint are not finite."""
    parts = [checkpoint.get('state_dict', checkpoint), checkpoint.get('ema_state_dict')]
    weights = [pair for part in parts if isinstance(part, Mapping) for pair in part.items()]
    bad = [str(key) for key, value in weights if isinstance(value, Tensor) and not _is_finite(value)]
    if bad:
        raise ValueError(
            f'{name}: {len(bad)} weights are not finite ({some_names(bad)}); training had failed, '
            'so use an earlier checkpoint'
        )


def some_names(names: Sequence[str], *, most: int = 3) -> str:
    """Return the first names as text for a message."""
    return ', '.join(names[:most]) + (', ...' if len(names) > most else '')


def _is_finite(value: Tensor) -> bool:
    if value.layout != torch.strided or value.is_quantized or not (value.is_floating_point() or value.is_complex()):
        return True
    for axis, stride in enumerate(value.stride()):
        if stride == 0:  # an expanded tensor; its copies need memory that the file did not
            value = value.narrow(axis, 0, min(1, value.shape[axis]))
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return False
    return bool((value.float() if value.element_size() == 1 else value).isfinite().all())


def _whole_beside(path: Path) -> Path | None:
    """Return the newest other checkpoint of the run in a folder that is not damaged."""
    found = {other: int(match[1]) for other in path.parent.iterdir() if (match := SAVED.fullmatch(other.name))}
    for other in sorted(found.keys() - {path}, key=lambda one: found[one], reverse=True):
        try:
            check_archive(other, str(other))
        except (ValueError, OSError):
            continue
        if zipfile.is_zipfile(other):
            return other
    return None
