"""Checkpoint files: read only if they are whole, finite and within limits; nothing in them can run."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any
from urllib.parse import urlparse

import torch
from torch import Tensor
from torch.hub import download_url_to_file, get_dir

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

CHUNK = 2**20
"""Bytes that are checked at a time."""

NEEDED = re.compile(
    r'collections (OrderedDict|Counter)|(builtins|__builtin__) (set|complex)|_codecs encode'
    r'|torch (Size|device|\w+Storage|bool|b?float\d+\w*|complex\d+|q?u?int\d+(x\d)?|per_(tensor|channel)_\w+)'
    r'|torch\.storage UntypedStorage|torch\.serialization _get_layout|torch\.nn\.parameter Parameter'
    r'|torch\._utils _rebuild_(parameter|tensor|tensor_v2|tensor_v3|qtensor|sparse_tensor)'
)
"""What a pickle may call, as it names it. torch allows more, such as `bytearray(number of bytes)`."""

PICKLES_OF_OLD_FILES = 5
"""Of torch before 1.6: a mark, a version, facts about the system, the contents, and the names of the tensors."""

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
            f'{path}: no such checkpoint; put it there, or start from random weights with init_cfg=None '
            '(for most models --cfg-options model.backbone.backbone.init_cfg=None)'
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
    """Return the file behind a URL in torch's cache, or in another folder; load it if it is not there."""
    folder = Path(folder or Path(get_dir()) / 'checkpoints')
    path = folder / Path(urlparse(url).path).name
    if not path.is_file():
        with _errors_of(url):
            folder.mkdir(parents=True, exist_ok=True)
            download_url_to_file(url, str(path), progress=progress)
    return path


def _load(file: Any, name: str, map_location: Any) -> dict[str, Any]:
    if isinstance(file, (str, Path)) and Path(file).suffix == SUFFIX:
        checkpoint, described = read_safetensors(Path(file), name)
        size = Path(file).stat().st_size
    else:
        size, described = check_archive(file, name)
        with _errors_of(name):
            checkpoint = _without_code(torch.load(file, map_location=map_location, weights_only=True))
    check_values(checkpoint, name, size=size, described=described)
    check_shape(checkpoint, name)
    check_finite(checkpoint, name)
    return checkpoint


@contextmanager
def _errors_of(name: Any) -> Iterator[None]:
    """Replace errors in reading the checkpoint `name` by readable ones."""
    try:
        yield
    except UnpicklingError as error:
        # torch's message says how to switch the protection off; users need to know what it found.
        found = re.search(r'[^.:\n]*(unsupported|unrecognized)[^\n]*', str(error), re.IGNORECASE)
        reason = found[0].strip()[:120] if found else 'not unpicklable'
        raise ValueError(
            f'{name}: not a checkpoint of tensors and plain values ({reason}). Nothing in it was run. Is it another '
            'kind of file, or truncated?'
        ) from None
    except Exception as error:  # torch.load raises nearly anything for other files
        raise ValueError(f'{name}: not a readable checkpoint ({error}); is it truncated?') from None


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


def check_archive(file: Any, name: str) -> tuple[int, int]:
    """Compare every record of a checkpoint with its checksum, a piece at a time; torch itself does not.

    Returns:
        The size of the file, and how many bytes of it describe its values. Tensors are records of their own, except in
        files of torch before 1.6, which have no checksums.

    Raises:
        ValueError: a record is damaged, or records are compressed or overlap and would fill more memory than the file.
    """
    with open(file, 'rb') if isinstance(file, (str, Path)) else _kept(file) as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        if stream.read(4) != b'PK\x03\x04':
            stream.seek(0)
            check_calls(stream.read(), name, pickles=PICKLES_OF_OLD_FILES)
            return size, size
        stream.seek(max(size - 22, 0))
        if not stream.read(22).startswith(b'PK\x05\x06'):
            raise ValueError(f'{name}: not a readable checkpoint (its end is missing); is it truncated?')
        try:
            with zipfile.ZipFile(stream) as archive:
                records = archive.infolist()
                problem = _problem(records, size)
                for record in [] if problem else records:
                    with archive.open(record) as contents:
                        while contents.read(CHUNK):
                            pass
            stream.seek(0)
            described = b'' if problem else torch._C.PyTorchFileReader(stream).get_record('data.pkl')
        except Exception as error:  # zipfile raises nearly anything for damaged files
            raise ValueError(f'{name}: the checkpoint is damaged ({error}); copy or download it again') from None
    if problem:
        raise ValueError(f'{name}: refused because {problem}; torch.save does not write such files')
    check_calls(described, name)
    return size, len(described)


def check_calls(contents: bytes, name: str, *, pickles: int = 1) -> None:
    """Refuse pickles, one after the other, that call something else than `NEEDED`."""
    stream = io.BytesIO(contents)
    with _errors_of(name):
        called = {
            str(call) for _ in range(pickles) for code, call, _ in pickletools.genops(stream) if code.name == 'GLOBAL'
        }
    if more := sorted(call for call in called if not NEEDED.fullmatch(call)):
        raise ValueError(
            f'{name}: refused because it holds more than tensors and plain values ({more[0].replace(" ", ".")[:120]}). '
            'Nothing in it was run. If you trust its author, load it yourself and save only its weights: '
            "torch.save({'state_dict': checkpoint['state_dict']}, new_path)"
        )


@contextmanager
def _kept(buffer: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield a buffer that is at its beginning again afterwards."""
    yield buffer
    buffer.seek(0)


def _problem(records: list[zipfile.ZipInfo], size: int) -> str | None:
    for record in records:
        if record.compress_type != zipfile.ZIP_STORED:
            return f'its record {record.filename} is compressed, {record.compress_size} bytes for {record.file_size}'
    total = sum(record.file_size for record in records)
    if total > size or max(Counter(record.filename for record in records).values(), default=0) > 1:
        return f'its records overlap: {total} bytes in a file of {size}'
    return None


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
