"""What the data set converters share: safe extraction, whole or absent folders, PNG files, counts, the manifest."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from rich.progress import track

MANIFEST = 'manifest.json'
TAR_SUFFIXES = ('.tar', '.tar.gz', '.tgz', '.tar.bz2', '.tar.xz')


def check_counts(counts: Mapping[str, int], expected: Mapping[str, int], *, where: str | Path) -> None:
    """Compare how many there are of each thing with how many there must be; what is not expected may be there.

    Raises:
        ValueError: names `where` and every mismatch.
    """
    wrong = [
        f'{name}: {counts.get(name, 0)}, expected {number}'
        for name, number in expected.items()
        if counts.get(name, 0) != number
    ]
    if wrong:
        raise ValueError(
            f'{where}: not the complete data set ({"; ".join(wrong)}); get the missing files, or convert what there is '
            'with --allow-partial'
        )


def write_manifest(root: Path, *, dataset: str, counts: Mapping[str, int], sources: Sequence[Path] = ()) -> Path:
    """Write `manifest.json` into a converted data set: what it is, of what it was made, and every file in it.

    ```
    {"dataset": "nyud", "counts": {"train": 795, ...},
     "sources": [{"name": "nyu_depth_v2_labeled.mat", "bytes": 2972037809, "sha256": "..."}],
     "files": {"images/0001.jpg": {"bytes": 50000, "sha256": "..."}, ...}}
    ```

    Of a source that is a folder only the name is kept. The manifest replaces an older one in one step.

    Returns:
        The manifest's path.
    """
    path = root / MANIFEST
    files = sorted(file for file in root.rglob('*') if file.is_file() and file != path)
    hashed = {
        file.relative_to(root).as_posix(): _describe(file)
        for file in track(files, description='Hashing files', transient=True)
    }
    made_of = [
        dict(name=source.name, **(_describe(source) if source.is_file() else {}))
        for source in track(sources, description='Hashing sources', transient=True)
    ]
    text = json.dumps(dict(dataset=dataset, counts=dict(counts), sources=made_of, files=hashed), indent=1)
    partial = path.with_name(f'{MANIFEST}.partial')
    partial.write_text(text + '\n', encoding='utf-8')
    os.replace(partial, path)
    return path


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A new folder to fill, which becomes `target` when the block ends; after an error or a stop there is no `target`.

    Raises:
        FileExistsError: `target` is already there.
    """
    if target.exists():
        raise FileExistsError(f'{target}: already there; remove it or choose another folder')
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=f'{target.name}.partial-') as folder:
        root = Path(folder) / target.name
        root.mkdir()
        yield root
        root.rename(target)


def write_png(path: Path, array: np.ndarray) -> None:
    """Write a picture in BGR, labels, or depth: one or three channels of uint8 or uint16.

    Raises:
        OSError: the file cannot be written.
    """
    if not cv2.imwrite(str(path), np.ascontiguousarray(array)):
        raise OSError(f'{path}: could not be written; check the free space and the rights of the folder')


def extract(archive: Path, target: Path) -> None:
    """Unpack a zip or tar file of plain files and folders into a folder.

    Raises:
        FileNotFoundError: no such archive.
        ValueError: no zip or tar file, damaged, or a member is a link or device, or would lie outside `target`.
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
    """The folder of a data set to check: an unpacked one where it is, or an archive's, which becomes `out` at the end.

    Args:
        source: folder, or zip or tar file.
        out: where an archive goes; None for a folder.
        marker: what stands in the data set's own folder; archives have it at any depth.

    Raises:
        FileNotFoundError: there is no `source`, or nothing named `marker` in it.
        ValueError: an archive without `out`, or a folder with it.
    """
    if not source.exists():
        raise FileNotFoundError(f'{source}: no such folder or archive')
    if source.is_dir():
        if out is not None:
            raise ValueError(f'{source}: a folder is checked where it is; leave out --out')
        if not (source / marker).exists():
            raise FileNotFoundError(f'{source}: has no {marker}; give the folder that has it')
        yield source
        return
    if out is None:
        raise ValueError(f'{source}: to unpack an archive, give --out')
    with whole_folder(out) as root:
        unpacked = root.with_name(f'{root.name}.unpacked')
        extract(source, unpacked)
        found = min((path.parent for path in unpacked.rglob(marker)), key=lambda path: len(path.parts), default=None)
        if found is None:
            raise FileNotFoundError(f'{source}: has no {marker} inside; check that it is the right archive')
        root.rmdir()
        found.rename(root)
        yield root


@contextmanager
def joined_folder(
    sources: Sequence[Path], out: Path | None, *, arrange: Callable[[Path, Path], None] | None = None
) -> Iterator[Path]:
    """Like `checked_folder`, of a data set that comes as several archives, unpacked over each other.

    Args:
        sources: one folder, or zip and tar files.
        out: where the archives go; None for a folder.
        arrange: takes what was unpacked (first) to its places in the data set (second); None where it has them.

    Raises:
        FileNotFoundError: one of `sources` is not there.
        ValueError: archives without `out`, or a folder with it.
    """
    if missing := [str(source) for source in sources if not source.exists()]:
        raise FileNotFoundError(f'{", ".join(missing)}: no such folder or archive')
    if out is None:
        if len(sources) > 1 or not sources[0].is_dir():
            raise ValueError(f'{sources[0]}: archives need --out; without it, give one folder to check')
        yield sources[0]
        return
    if folders := [str(source) for source in sources if source.is_dir()]:
        raise ValueError(f'{", ".join(folders)}: a folder is checked where it is; leave out --out')
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
            # Unix keeps the kind of file in the upper half; it is 0 in archives made elsewhere.
            kind = stat.S_IFMT(member.external_attr >> 16)
            _check_member(archive, member.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            opened.extract(member, target)


def _extract_tar(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as opened:
        for member in track(opened, description=f'Unpacking {archive.name}', total=None, transient=True):
            _check_member(archive, member.name, plain=member.isreg() or member.isdir())
            opened.extract(member, target, filter='data')


def _check_member(archive: Path, name: str, *, plain: bool) -> None:
    """Refuse what a data set's archive never has and an attacker's does."""
    outside = PurePosixPath(name).is_absolute() or '..' in PurePosixPath(name).parts
    outside |= bool(PureWindowsPath(name).anchor) or '..' in PureWindowsPath(name).parts
    if outside or not plain:
        reason = 'would be written outside the folder' if outside else 'is neither a file nor a folder'
        raise ValueError(f'{archive}: member {name!r} {reason}; do not use this archive')


def _describe(file: Path) -> dict[str, int | str]:
    """Size and hash of a file."""
    digest = hashlib.sha256()
    with file.open('rb') as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return {'bytes': file.stat().st_size, 'sha256': digest.hexdigest()}
