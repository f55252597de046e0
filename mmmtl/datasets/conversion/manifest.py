"""The counts of a converted data set, and the manifest of its files with their hashes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.progress import track

from mmmtl.io.files import read_json, sha256_of
from mmmtl.io.outputs import check_outputs, write_text

MANIFEST = 'manifest.json'


def check_counts(counts: Mapping[str, int], expected: Mapping[str, int], *, where: str | Path) -> None:
    """Refuse counts that differ from the expected ones; kinds without an expected count are ignored."""
    wrong = [
        f'{name}: {counts.get(name, 0)}, expected {number}'
        for name, number in expected.items()
        if counts.get(name, 0) != number
    ]
    if wrong:
        raise ValueError(
            f'{where}: not the complete data set ({"; ".join(wrong)}); get the missing files, or accept these with '
            '--allow-partial'
        )


def write_manifest(root: Path, *, dataset: str, counts: Mapping[str, int], sources: Sequence[Path] = ()) -> Path:
    """Write `manifest.json` into a converted data set, with its sources and all its files, and return its path.

    ```
    {"dataset": "nyud", "counts": {"train": 795, ...},
     "sources": [{"name": "nyu_depth_v2_labeled.mat", "bytes": 2972037809, "sha256": "..."}],
     "files": {"images/0001.jpg": {"bytes": 50000, "sha256": "..."}, ...}}
    ```

    Source folders are recorded by name only; links to folders are followed. An older manifest is replaced in one step;
    another file of its name, and a folder that cannot be written, are refused before anything is hashed.
    """
    path = root / MANIFEST
    _check_older(path)
    check_outputs([path])
    files = sorted(file for file in _files_below(root) if file != path)
    hashed = {
        file.relative_to(root).as_posix(): _describe(file)
        for file in track(files, description='Hashing files', transient=True)
    }
    made_of = [
        dict(name=source.name, **(_describe(source) if source.is_file() else {}))
        for source in track(sources, description='Hashing sources', transient=True)
    ]
    text = json.dumps(dict(dataset=dataset, counts=dict(counts), sources=made_of, files=hashed), indent=1)
    write_text(path, text + '\n')
    return path


def _check_older(path: Path) -> None:
    """Refuse a file that no converter wrote."""
    if path.exists():
        try:
            older = read_json(path)
        except ValueError:
            older = None
        if not isinstance(older, dict) or not {'dataset', 'counts', 'files'} <= older.keys():
            raise ValueError(f'{path}: not a manifest of a converter, and would be overwritten; rename it')


def _files_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders, except through a link to one of the folders `above`."""
    if (real := folder.resolve()) in above:
        return
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files_below(path, (*above, real))
        elif path.is_file():
            yield path


def _describe(file: Path) -> dict[str, int | str]:
    """Return the size and hash of a file."""
    return {'bytes': file.stat().st_size, 'sha256': sha256_of(file)}
