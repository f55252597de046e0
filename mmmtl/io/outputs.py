"""Files that programs write: never over an input, never over one another, and whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import unicodedata
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

from .signals import exits_at_signals
from .source_names import source_name

AnyPath = str | Path
FileKey = tuple[int, int] | Path

LONGEST = 200
"""Bytes of a name that is made; most file systems take 255."""

NO_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
"""The errors of file systems that cannot flush a folder, such as CIFS and some of FUSE."""

PARTIAL = re.compile(r'\.[0-9a-f]{12}\.partial(\..+)?')
"""Names of files that are not in place yet."""


def check_outputs(
    outputs: Iterable[AnyPath | None], inputs: Iterable[AnyPath | None] = (), *, folders: Iterable[AnyPath] = ()
) -> None:
    """Refuse outputs that would destroy an input. Call it before the work starts.

    Links, hard links and names that differ only in case (where the file system ignores it) are seen through.

    Args:
        outputs: files or folders that will be written; None is skipped.
        inputs: files or folders that are read; None is skipped.
        folders: folders full of inputs, such as those of data sets; below them an output must be new or an empty
            folder.

    Raises:
        ValueError: an output is an input, is another output, is a file or a full folder below one of `folders`, or
            cannot be written.
    """
    sources = {file_key(path): path for path in inputs if path is not None}
    roots = [Path(folder).resolve() for folder in folders]
    seen: dict[FileKey, AnyPath] = {}
    for output in outputs:
        if output is None or is_special(output):
            continue
        _check_writable(Path(output))
        key = file_key(output)
        if key in sources:
            raise ValueError(f'{output}: an output that is the input {sources[key]}; choose another name')
        if key in seen:
            raise ValueError(f'{output}: the same file as the output {seen[key]}; choose two names')
        for root in roots:
            if holds_something(Path(output)) and Path(output).resolve().is_relative_to(root):
                raise ValueError(
                    f'{output}: exists in the data folder {root} and may be an input; choose a new name or a place '
                    'outside'
                )
        seen[key] = output


def check_new_folder(folder: AnyPath) -> None:
    """Refuse a folder that holds something, and a file."""
    folder = Path(folder)
    if holds_something(folder):
        holds = f' (it holds {next(folder.iterdir()).name})' if folder.is_dir() else ''
        raise ValueError(f'{folder}: exists and is not an empty folder{holds}; choose a new one')


def holds_something(path: Path) -> bool:
    """Return whether a path is there and is not an empty folder."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


def file_key(path: AnyPath) -> FileKey:
    """Return what all names of a file or folder share: device and inode, or the resolved path if it does not exist."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return Path(path).resolve()
    return found.st_dev, found.st_ino


def is_special(path: AnyPath) -> bool:
    """Return whether a path is a device, a pipe or a socket, such as /dev/null."""
    path = Path(path)
    return path.exists() and not path.is_file() and not path.is_dir()


def distinct_names(sources: Sequence[AnyPath]) -> list[str]:
    """Return a name for the output of each source, all different even where case does not count.

    It is the name without suffix if that is enough, else with suffix, else with the folder, else with a number. '.'
    and '..' have the names of their folders; addresses leave out what `source_name` does. Long names are cut.

    Examples:
        >>> distinct_names(['a/x.jpg', 'a/y.jpg', 'a/y.png', 'b/z.jpg', 'c/z.jpg'])
        ['x', 'y.jpg', 'y.png', 'b_z.jpg', 'c_z.jpg']
    """
    # `source_name` returns text to print; the file system's encoding may lack some of its letters.
    paths = [PurePath(os.fsdecode(source_name(one).encode(errors='surrogateescape'))) for one in sources]
    paths = [PurePath(os.path.abspath(path)) if path.name in ('', '..') else path for path in paths]
    choices = [[path.stem, path.name, '_'.join(filter(None, [path.parent.name, path.name]))] for path in paths]
    choices = [[_shortened(name.replace('\\', '_')) for name in level] for level in choices]
    counts = [Counter(map(folded, level)) for level in zip(*choices, strict=True)]
    taken: set[str] = set()
    names: list[str] = []
    for own in choices:
        unique = [name for name, count in zip(own, counts, strict=True) if count[folded(name)] == 1]
        numbered = (f'{own[-1]}_{number}' for number in range(1, len(choices) + len(names) + 2))
        name = next(name for name in (*unique, *numbered) if folded(name) not in taken)
        taken.add(folded(name))
        names.append(name)
    return names


@contextmanager
def whole_file(path: AnyPath, *, flush: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with its suffix, which becomes `path` when the block ends.

    After an error `path` is as before. Missing folders are made, links are followed, devices are written directly.
    `flush` waits until the disk has the file. A killed process leaves the temporary one, for `remove_partial_files`.

    Raises:
        ValueError: `path` is a folder.
        OSError: the folder or the file cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise ValueError(f'{path}: is a folder, cannot write a file there; add a file name')
    if is_special(target):
        yield target
        return
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, 'write-protected; choose another name', str(path))
    partial = target.with_name(f'.{uuid.uuid4().hex[:12]}.partial{target.suffix}')
    try:
        yield partial
        if target.exists():
            with suppress(OSError):  # of a file system without modes, such as CIFS and exFAT
                shutil.copymode(target, partial)
        if flush:
            _flush(partial, os.O_RDWR)
        os.replace(partial, target)
        if flush and os.name == 'posix':
            _flush_folder(target.parent)
    except OSError as error:
        if error.filename == str(partial) or (error.filename is None and error.errno == errno.ENOSPC):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def temporary_folder(parent: AnyPath, prefix: str) -> Iterator[Path]:
    """Yield a new folder, which is removed when the block ends, also if SIGTERM or SIGHUP ends the program in it."""
    with exits_at_signals(), TemporaryDirectory(dir=parent, prefix=prefix) as folder:
        yield Path(folder)


def _flush(path: Path, flags: int) -> None:
    """Wait until the disk has a file, or the new names in a folder."""
    number = os.open(path, flags)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _flush_folder(path: Path) -> None:
    """Wait until the disk has the new names in a folder, unless its file system cannot say so."""
    try:
        _flush(path, os.O_RDONLY)
    except OSError as error:
        if error.errno not in NO_FLUSH:
            raise


def remove_partial_files(folder: Path) -> None:
    """Remove half-written files of killed runs from a folder that only this run writes to."""
    for path in folder.iterdir():
        if PARTIAL.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_text(path: AnyPath, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding='utf-8')


def _check_writable(path: Path) -> None:
    """Refuse a path that is write-protected, or whose folder is, or cannot be made."""
    target = path.resolve()
    place = next(place for place in (target, *target.parents) if os.path.exists(place))
    # A file is replaced by another in its folder.
    for needed in (place, target.parent) if place == target and target.is_file() else (place,):
        if not os.access(needed, os.W_OK):
            raise ValueError(f'{path}: cannot be written, {needed} is write-protected')
    if place != target and not place.is_dir():
        raise ValueError(f'{path}: cannot be written, {place} is a file and not a folder')


def _shortened(name: str) -> str:
    """Return a name that has room for a suffix and a number; a long one ends in a hash of all of it."""
    data = os.fsencode(name)
    if len(data) <= LONGEST:
        return name
    digest = hashlib.sha256(data).hexdigest()[:8]
    return f'{data[: LONGEST - 9].decode(errors="ignore")}-{digest}'


def folded(name: str) -> str:
    """Return a name as file systems compare it that ignore case and the Unicode composition of letters."""
    return unicodedata.normalize('NFC', name).casefold()
