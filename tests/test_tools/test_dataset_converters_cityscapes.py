"""cityscapes.py: official archives into one folder, and the counts of its splits."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mmmtl.datasets import Cityscapes

TOOL = 'tools/dataset_converters/cityscapes.py'
SPLITS = dict(train=2975, val=500, test=1525)


def write_zip(path: Path, folder: str, suffix: str, counts: dict[str, int] = SPLITS) -> Path:
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('README', 'about the data')
        for split, number in counts.items():
            for index in range(number):
                archive.writestr(f'{folder}/{split}/ulm/ulm_{index:06d}_000019_{suffix}', b'')
    return path


@pytest.mark.slow
def test_complete_archives(run_tool: Callable[..., str], tmp_path: Path) -> None:
    archives = [
        write_zip(tmp_path / 'gtFine.zip', 'gtFine', 'gtFine_labelIds.png'),
        write_zip(tmp_path / 'leftImg8bit.zip', 'leftImg8bit', 'leftImg8bit.png', dict(SPLITS, val=499)),
    ]
    out = tmp_path / 'out'
    with pytest.raises(SystemExit, match=r'out: .*leftImg8bit/val\D+499\D+500\D'):
        run_tool(TOOL, *archives, '--out', out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['gtFine.zip', 'leftImg8bit.zip']
    write_zip(archives[1], 'leftImg8bit', 'leftImg8bit.png')
    assert f'{out}: complete' in run_tool(TOOL, *archives, '--out', out)
    assert len(json.loads((out / 'manifest.json').read_text())['files']) == 1 + 2 * 5000


def test_what_was_unpacked_is_read(run_tool: Callable[..., str], tmp_path: Path) -> None:
    counts = dict(train=3, val=2)
    archives = [
        write_zip(tmp_path / 'gtFine.zip', 'gtFine', 'gtFine_labelIds.png', counts),
        write_zip(tmp_path / 'leftImg8bit.zip', 'leftImg8bit', 'leftImg8bit.png', counts),
    ]
    out = tmp_path / 'out'
    with pytest.raises(SystemExit, match=r'out: .*leftImg8bit/train\D+3\D+2975\D.*gtFine/test\D+0\D'):
        run_tool(TOOL, *archives, '--out', out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['gtFine.zip', 'leftImg8bit.zip']
    assert f'{out}: complete' in run_tool(TOOL, *archives, '--out', out, '--allow-partial')
    manifest = json.loads((out / 'manifest.json').read_text())
    assert manifest['counts'] == {
        f'{folder}/{split}': counts.get(split, 0) for folder in ('leftImg8bit', 'gtFine') for split in SPLITS
    }
    assert [source['name'] for source in manifest['sources']] == ['gtFine.zip', 'leftImg8bit.zip']
    tasks = dict(semseg=dict(type='SemanticSegmentation', classes='cityscapes_19'))
    assert len(Cityscapes(out, split='val', metainfo=dict(tasks=tasks))) == 2
    with pytest.raises(SystemExit, match='out: already there'):
        run_tool(TOOL, *archives, '--out', out)


def test_parts(run_tool: Callable[..., str], tmp_path: Path) -> None:
    sequence = write_zip(tmp_path / 's.zip', 'leftImg8bit_sequence', 'leftImg8bit.png', dict(val=2))
    out = tmp_path / 'out'
    with pytest.raises(SystemExit, match=r'gtFine/val\D+0\D+500\D.*leftImg8bit_sequence/val\D+2\D+15000'):
        run_tool(TOOL, sequence, '--out', out)
    run_tool(TOOL, sequence, '--out', out, '--allow-partial')
    run_tool(TOOL, out, '--allow-partial')
    with pytest.raises(SystemExit, match='--out'):
        run_tool(TOOL, sequence)
    with pytest.raises(SystemExit, match='leftImg8bit.*gtFine'):
        run_tool(TOOL, write_zip(tmp_path / 'x.zip', 'x', 'x', dict(val=1)), '--out', tmp_path / 'x', '--allow-partial')
