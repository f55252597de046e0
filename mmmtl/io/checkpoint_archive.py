"""The archive of a checkpoint: whole, no larger than it looks, and without calls that can run code or take memory."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import torch

CHUNK = 2**20
"""Bytes that are checked at a time."""

NEEDED = re.compile(
    r'collections (OrderedDict|Counter)|(builtins|__builtin__) (set|complex)|_codecs encode'
    r'|torch (Size|device|\w+Storage|bool|b?float\d+\w*|b?complex\d+|q?u?int\d+(x\d)?|per_(tensor|channel)_\w+)'
    r'|torch\.storage UntypedStorage|torch\.serialization _get_layout|torch\.nn\.parameter Parameter'
    r'|torch\._utils _rebuild_(parameter|tensor|tensor_v2|tensor_v3|qtensor|sparse_tensor)'
)
"""Callables that a pickle may name. torch allows more, such as `bytearray(number of bytes)`."""

PICKLES_OF_OLD_FILES = 5
"""Of torch before 1.6: a mark, a version, facts about the system, the contents, and the names of the tensors."""


@contextmanager
def readable_checkpoint_errors(name: Any) -> Iterator[None]:
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
        raise ValueError(
            f'{name}: not a readable checkpoint ({error}); is it truncated, or not a file of torch.save?'
        ) from None


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
    with readable_checkpoint_errors(name):
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
