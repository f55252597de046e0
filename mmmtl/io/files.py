"""Bytes and text of a file, up to a limit, with errors that name the file."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import Any

SYSTEM_FILES = ('desktop.ini', 'thumbs.db', '__macosx')

MAX_TEXT = 1 << 26
"""The default limit of lists and JSON files, in bytes."""


def is_foreign(path: Path) -> bool:
    """Return whether a file or folder is hidden or comes from the system: `._000001.png`, `Thumbs.db`, `__MACOSX`."""
    return path.name.startswith('.') or path.name.lower() in SYSTEM_FILES


def named_path(argument: str) -> tuple[str, str]:
    """Return name and path of `[NAME=]PATH`: the longest path that exists, else all after the first '='.

    Examples:
        >>> named_path('mila=runs/1'), named_path('runs/mila')
        (('mila', 'runs/1'), ('', 'runs/mila'))
    """
    parts = argument.split('=')
    choices = [('='.join(parts[:number]), '='.join(parts[number:])) for number in range(len(parts))]
    there = (choice for choice in choices if choice[1] and Path(choice[1]).exists())
    return next(there, choices[min(1, len(parts) - 1)])


def read_bytes(path: str | Path, *, max_bytes: int, missing: str = 'no such file') -> bytes:
    """Return the contents of a regular file.

    Args:
        path: the file.
        max_bytes: refuse a larger file before it is read.
        missing: description of the error if there is no such file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a folder, device or pipe, too large, or a name that no file can have.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            kind = 'a folder' if stat.S_ISDIR(found.st_mode) else 'no regular file'
            raise ValueError(f'{path}: {kind} instead of a file; remove or rename it')
        if found.st_size > max_bytes:
            raise ValueError(
                f'{path}: {found.st_size} bytes, more than the limit of {max_bytes}; check the file, or raise the limit'
            )
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f'{path}: {missing}') from None
    except UnicodeError as error:
        raise ValueError(f'{str(path)!r}: no file can have this name ({error})') from None


def read_text(path: str | Path, *, max_bytes: int = MAX_TEXT, missing: str = 'no such file') -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark; marks are removed.

    Raises:
        FileNotFoundError: no such file.
        ValueError: neither of these encodings, no regular file, or too large.
    """
    data = read_bytes(path, max_bytes=max_bytes, missing=missing)
    try:
        return data.decode('utf-16' if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else 'utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path}: neither UTF-8 nor UTF-16 text ({error}); save it as UTF-8') from None


def read_json(path: str | Path, *, max_bytes: int = MAX_TEXT, missing: str = 'no such file') -> Any:
    """Return the value in a JSON file.

    The errors are those of `read_text`, and a ValueError for invalid JSON or repeated keys.
    """
    text = read_text(path, max_bytes=max_bytes, missing=missing)
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except RecursionError:
        raise ValueError(f'{path}: not valid JSON (nested too deeply); correct the file') from None
    except ValueError as error:
        raise ValueError(f'{path}: not valid JSON ({error}); correct the file') from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f'the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice')
    return found


def check_sha256(path: Path, expected: str, fix: str) -> None:
    """Refuse a file that is not the one with a SHA-256; the message ends in `fix`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another file.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such weights; {fix}')
    if (found := sha256_of(path)) != expected:
        raise ValueError(f'{path}: its SHA-256 is {found}, not {expected}: it is damaged or another file; {fix}')


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
