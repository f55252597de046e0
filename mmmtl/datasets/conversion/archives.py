"""Safe extraction of archives, into folders that are complete or absent."""

from __future__ import annotations

import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory

from rich.progress import track

TAR_SUFFIXES = ('.tar', '.tar.gz', '.tgz', '.tar.bz2', '.tar.xz')


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder to fill. It becomes `target` when the block ends; after an error there is no `target`."""
    if target.exists():
        raise FileExistsError(f'{target}: already there; remove it or choose another folder')
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=f'{target.name}.partial-') as folder:
        root = Path(folder) / target.name
        root.mkdir()
        yield root
        root.rename(target)


def extract(archive: Path, target: Path) -> None:
    """Unpack a zip or tar file into a folder.

    Raises:
        FileNotFoundError: no such archive.
        ValueError: not a zip or tar file, damaged, or a member is a link or device or would end up outside `target`.
    """
    if not archive.is_file():
        raise FileNotFoundError(f'{archive}: no such archive')
    target.mkdir(parents=True, exist_ok=True)
    try:
        if archive.suffix.lower() == '.zip':
            _extract_zip(archive, target)
        elif archive.name.lower().endswith(TAR_SUFFIXES):
            _extract_tar(archive, target)
        else:
            raise ValueError(f'{archive}: neither .zip nor one of {", ".join(TAR_SUFFIXES)}; unpack it by hand')
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise ValueError(f'{archive}: damaged archive ({error}); download it again') from error


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


def _extract_zip(archive: Path, target: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in track(opened.infolist(), description=f'Unpacking {archive.name}', transient=True):
            # Unix stores the kind of file in the upper half; other systems leave 0.
            kind = stat.S_IFMT(member.external_attr >> 16)
            _check_member(archive, member.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            opened.extract(member, target)


def _extract_tar(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as opened:
        for member in track(opened, description=f'Unpacking {archive.name}', total=None, transient=True):
            _check_member(archive, member.name, plain=member.isreg() or member.isdir())
            opened.extract(member, target, filter='data')


def _check_member(archive: Path, name: str, *, plain: bool) -> None:
    """Refuse a link, a device, or a member outside the folder."""
    outside = PurePosixPath(name).is_absolute() or '..' in PurePosixPath(name).parts
    outside |= bool(PureWindowsPath(name).anchor) or '..' in PureWindowsPath(name).parts
    if outside or not plain:
        reason = 'would be written outside the folder' if outside else 'is neither a file nor a folder'
        raise ValueError(f'{archive}: member {name!r} {reason}; do not use this archive')
