"""Safe extraction of archives, into folders that are complete or absent."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from rich.progress import track

from mmmtl.io.files import SYSTEM_FILES
from mmmtl.io.outputs import temporary_folder

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)

OPENERS: dict[str, Callable[..., Any]] = {
    '.tar': open,
    '.tar.gz': gzip.open,
    '.tgz': gzip.open,
    '.tar.bz2': bz2.open,
    '.tar.xz': lzma.open,
}

MAX_GROWTH = 100
"""How many times its own size an archive may unpack to; images grow little, label arrays some twenty times."""
SLACK = 1 << 30
"""Bytes that any archive may unpack to."""
MAX_MEMBERS = 5_000_000
MAX_HEADER = 1 << 24
"""The limit of the header of a member, in bytes."""


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder to fill. It becomes `target` when the block ends; after an error there is no `target`.

    A link to a place where nothing is yet is followed. A killed process leaves its folder, of which the next one warns.
    """
    if target.exists():
        raise FileExistsError(f'{target}: already there; remove it or choose another folder')
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f'{target.name}.partial-'
    if left := sorted(str(path) for path in target.parent.iterdir() if path.name.startswith(prefix)):
        warnings.warn(
            f'{", ".join(left)}: of a conversion that was killed or still runs; remove it if not', stacklevel=1
        )
    with temporary_folder(target.parent, prefix) as folder:
        root = folder / target.name
        root.mkdir()
        yield root
        root.rename(target)


class Refused(ValueError):
    """An error that names the archive already."""


def extract(archive: Path, target: Path) -> None:
    """Unpack a zip or tar file into a folder, without the files of the system that packed it.

    Args:
        archive: the file.
        target: the folder; it may have contents.

    Raises:
        FileNotFoundError: no such archive.
        ValueError: not a zip or tar file, damaged, encrypted, too large when unpacked, or a member is a link or device
            or would end up outside `target`.
        OSError: the disk is full or cannot be written.
    """
    if not archive.is_file():
        raise FileNotFoundError(f'{archive}: no such archive')
    target.mkdir(parents=True, exist_ok=True)
    try:
        guard = _Guard(archive, SLACK + MAX_GROWTH * archive.stat().st_size)
        opener = next((OPENERS[end] for end in OPENERS if archive.name.lower().endswith(end)), None)
        if archive.suffix.lower() == '.zip':
            _extract_zip(archive, target, guard)
        elif opener is not None:
            with opener(archive, 'rb') as stream:
                _extract_tar(stream, target, guard)
        else:
            raise Refused(f'{archive}: neither .zip nor one of {", ".join(OPENERS)}; unpack it by hand')
    except Refused:
        raise
    except Exception as error:  # zipfile and tarfile raise many types of errors for damaged files
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        raise ValueError(f'{archive}: damaged archive ({error!r}); download it again') from error


@contextmanager
def checked_folder(source: Path, out: Path | None, *, marker: str) -> Iterator[Path]:
    """Yield the folder of a data set to check: `source` itself, or an archive's contents, which become `out`.

    Args:
        source: folder, or zip or tar file.
        out: the new folder of an archive; None for a folder.
        marker: name of a file in the data set's main folder, which archives may have at any depth.
    """

    def arrange(unpacked: Path, root: Path) -> None:
        found = min((path.parent for path in unpacked.rglob(marker)), key=lambda path: len(path.parts), default=None)
        if found is None:
            raise FileNotFoundError(f'{source}: contains no {marker}; check that it is the right archive')
        root.rmdir()
        found.rename(root)

    with joined_folder([source], out, arrange=arrange) as root:
        if not (root / marker).exists():
            raise FileNotFoundError(f'{source}: contains no {marker}; give the folder that does')
        yield root


@contextmanager
def joined_folder(
    sources: Sequence[Path], out: Path | None, *, arrange: Callable[[Path, Path], None] | None = None
) -> Iterator[Path]:
    """Yield the folder of a data set, as `checked_folder` does, of several archives unpacked over each other.

    Args:
        sources: one folder, or zip and tar files.
        out: the new folder of the archives; None for a folder.
        arrange: moves the files from the unpacked archives (first) into the data set (second); None if they fit
            already.
    """
    if missing := [str(source) for source in sources if not source.exists()]:
        raise FileNotFoundError(f'{", ".join(missing)}: no such folder or archive')
    if out is None:
        if len(sources) > 1 or not sources[0].is_dir():
            raise ValueError(f'{sources[0]}: archives need --out; without it, give one folder to check')
        yield sources[0]
        return
    if folders := [str(source) for source in sources if source.is_dir()]:
        raise ValueError(f'{", ".join(folders)}: a folder is checked in place; leave out --out')
    with whole_folder(out) as root:
        unpacked = root if arrange is None else root.with_name(f'{root.name}.unpacked')
        for source in sources:
            extract(source, unpacked)
        if arrange is not None:
            arrange(unpacked, root)
        yield root


class _Guard:
    """The limits of an archive, and what its members may be.

    Args:
        archive: the file, for messages.
        max_bytes: the most bytes of all members together.
    """

    def __init__(self, archive: Path, max_bytes: float) -> None:
        self.archive = archive
        self.max_bytes = max_bytes
        self.total = self.members = 0

    def check(self, name: str, size: int, *, plain: bool) -> None:
        """Refuse a link, a device, a member outside the folder, and more bytes or members than the limits."""
        self.total += size
        self.members += 1
        if self.total > self.max_bytes or self.members > MAX_MEMBERS:
            raise Refused(
                f'{self.archive}: unpacks to {self.members} members of {self.total} bytes or more, beyond the limit of '
                f'{self.max_bytes:.0f} bytes; if it is the right archive, unpack it by hand'
            )
        outside = PurePosixPath(name).is_absolute() or '..' in PurePosixPath(name).parts
        outside |= bool(PureWindowsPath(name).anchor) or '..' in PureWindowsPath(name).parts
        if outside or not plain:
            reason = 'would be written outside the folder' if outside else 'is neither a file nor a folder'
            raise Refused(f'{self.archive}: member {name!r} {reason}; do not use this archive')


class _ShortReads:
    """A stream that gives at most `MAX_HEADER` bytes at once: tarfile reads long names in one piece."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > MAX_HEADER:
            raise ValueError(f'a header of {size} bytes')
        return self._stream.read(size)


def _extract_zip(archive: Path, target: Path, guard: _Guard) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in track(opened.infolist(), description=f'Unpacking {archive.name}', transient=True):
            if member.flag_bits & 1:
                raise Refused(f'{archive}: member {member.filename!r} is encrypted; unpack it by hand')
            # Unix stores the kind of file in the upper half; other systems leave 0.
            kind = stat.S_IFMT(member.external_attr >> 16)
            guard.check(member.filename, member.file_size, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            if not _is_foreign(member.filename):
                opened.extract(member, target)


def _extract_tar(stream: IO[bytes], target: Path, guard: _Guard) -> None:
    with tarfile.open(fileobj=_ShortReads(stream), mode='r:') as opened:  # type: ignore[call-overload]
        for member in track(
            _members(opened), description=f'Unpacking {guard.archive.name}', total=None, transient=True
        ):
            guard.check(member.name, member.size, plain=member.isreg() or member.isdir())
            if not _is_foreign(member.name):
                opened.extract(member, target, filter='data')


def _is_foreign(name: str) -> bool:
    """Return whether a member is of the system that packed the archive, such as those in __MACOSX."""
    return any(part.startswith('._') or part.lower() in SYSTEM_FILES for part in PurePosixPath(name).parts)


def _members(opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar file, without the list of all that tarfile would keep."""
    while (member := opened.next()) is not None:
        yield member
        opened.members = []  # type: ignore[attr-defined]
