"""The command line of converters: archives of one data set, counted."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest

from mmmtl.datasets.conversion.command import convert


def count(root: Path) -> tuple[dict[str, int], dict[str, int]]:
    kinds = ('images', 'labels')
    return {kind: len(list(root.glob(f'{kind}/*'))) for kind in kinds}, dict.fromkeys(kinds, 2)


def write(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, 'w') as archive:
        for name in names:
            archive.writestr(name, b'')
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, 'argv', ['tool', *map(str, arguments)])
    convert('A data set.', dataset='numbers', content='images/', count=count)


def test_archives_are_counted_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = write(tmp_path / 'a.zip', 'images/0', 'images/1'), write(tmp_path / 'b.zip', 'labels/0')
    out = tmp_path / 'out'
    with pytest.raises(ValueError, match=r'out: .*labels\D+1\D+2'):
        run(monkeypatch, images, labels, '--out', out)
    assert not out.exists()
    run(monkeypatch, images, labels, '--out', out, '--allow-partial')
    assert str(out) in capsys.readouterr().out
    manifest = json.loads((out / 'manifest.json').read_text())
    assert (manifest['dataset'], manifest['counts']) == ('numbers', {'images': 2, 'labels': 1})
    assert [source['name'] for source in manifest['sources']] == ['a.zip', 'b.zip']


def test_a_folder_is_checked_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('images', 'labels'):
        (tmp_path / 'data' / name).mkdir(parents=True)
    with pytest.raises(ValueError, match='data: .*images/'):
        run(monkeypatch, tmp_path / 'data', '--allow-partial')
    for name in ('images/0', 'images/1', 'labels/0', 'labels/1'):
        (tmp_path / 'data' / name).write_bytes(b'')
    run(monkeypatch, tmp_path / 'data')
    assert (tmp_path / 'data/manifest.json').is_file()
