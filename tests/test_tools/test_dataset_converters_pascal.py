"""The converter of PASCAL-Context: archives, folders, the originals, and what is incomplete."""

from __future__ import annotations

import json
import runpy
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import loadmat

from mmmtl.datasets import PASCALContext

TOOL = 'tools/dataset_converters/pascal_context.py'
Run = Callable[..., str]
NAMES = dict(train=['2008_000001', '2008_000002', '2008_000003'], val=['2008_000004'])
PERSON, DOG = NAMES['train'][:2]


def pack(archive: Path, **folders: Path) -> Path:
    """A tar file of folders; '__' in their names stands for '/'."""
    with tarfile.open(archive, 'w:gz' if archive.suffix == '.tgz' else 'w') as opened:
        for name, folder in folders.items():
            opened.add(folder, arcname=name.replace('__', '/'))
    return archive


def count_items(root: Path) -> dict[str, int]:
    tasks = dict(parts=dict(type='SemanticSegmentation', classes='human_parts_7', source='human_parts'))
    tasks['semseg'] = dict(type='SemanticSegmentation', classes='pascal_21')
    return {
        split: sum(
            'human_parts' in frame['maps'] for frame in PASCALContext(root, split=split, metainfo=dict(tasks=tasks))
        )
        for split in NAMES
    }


def test_an_archive_becomes_the_data_set(run_tool: Run, pascal_mt: Path, tmp_path: Path) -> None:
    archive, out = pack(tmp_path / 'PASCAL_MT.tgz', some__PASCAL_MT=pascal_mt), tmp_path / 'data' / 'pascal_context'
    printed = run_tool(TOOL, archive, '--out', out, '--allow-partial')

    assert f'{out}: complete, see manifest.json' in printed
    copied = {path.relative_to(pascal_mt) for path in pascal_mt.rglob('*') if path.is_file()}
    assert len(copied) > 20 and all((out / path).read_bytes() == (pascal_mt / path).read_bytes() for path in copied)
    assert {path.name for path in (tmp_path / 'data').iterdir()} == {'pascal_context'}

    manifest = json.loads((out / 'manifest.json').read_text())
    assert manifest['dataset'] == 'pascal_context'
    assert manifest['counts']['train'] == manifest['counts']['semseg/train'] == 3
    assert manifest['counts']['val'] == manifest['counts']['normals/val'] == 1
    assert [source['name'] for source in manifest['sources']] == ['PASCAL_MT.tgz']
    assert set(manifest['files']) == {path.as_posix() for path in copied} | {
        f'ImageSets/Parts/{split}.txt' for split in NAMES
    }

    # Objects, of which an empty one would be -1; only the image of people keeps its parts.
    lists = {split: json.loads((out / f'ImageSets/Parts/{split}.txt').read_text()) for split in NAMES}
    assert lists == {
        'train': {PERSON: [15, 15, 12], DOG: [12], '2008_000003': []},
        'val': {'2008_000004': [15, 15, 12]},
    }
    assert count_items(out) == {'train': 1, 'val': 1}


def test_a_folder_is_checked_where_it_is(run_tool: Run, pascal_mt: Path) -> None:
    (pascal_mt / 'ImageSets' / 'Parts').mkdir()
    kept = pascal_mt / 'ImageSets' / 'Parts' / 'train.txt'
    kept.write_text(json.dumps({PERSON: [15]}))
    printed = run_tool(TOOL, pascal_mt, '--allow-partial')
    assert f'{pascal_mt}: complete' in printed
    assert 'normals: 100 % ' in printed
    assert json.loads(kept.read_text()) == {PERSON: [15]}
    assert json.loads((pascal_mt / 'manifest.json').read_text())['counts']['labels/train'] == 3


def test_an_incomplete_data_set_is_refused(run_tool: Run, pascal_mt: Path, tmp_path: Path) -> None:
    (pascal_mt / f'sal_distill/{DOG}.png').unlink()
    archive, out = pack(tmp_path / 'PASCAL_MT.tgz', PASCAL_MT=pascal_mt), tmp_path / 'pascal_context'
    with pytest.raises(SystemExit, match=r'PASCAL_MT\.tgz') as error:
        run_tool(TOOL, archive, '--out', out)

    for part in ('train: 3, expected 4998', 'val: 1, expected 5105', 'saliency/train: 2, expected 4998'):
        assert part in str(error.value)
    assert '--allow-partial' in str(error.value) and 'edge/' not in str(error.value)
    assert not out.exists()


def test_the_originals_become_the_data_set(run_tool: Run, pascal_mt: Path, tmp_path: Path) -> None:
    voc, main = tmp_path / 'VOC2010', tmp_path / 'VOC2010' / 'ImageSets' / 'Main'
    main.mkdir(parents=True)
    (pascal_mt / 'JPEGImages').rename(voc / 'JPEGImages')
    for split, names in NAMES.items():
        # PASCAL-Context has no labels for one of them.
        (main / f'{split}.txt').write_text('\n'.join([*names, '2010_000009']) + '\n')
    archive = pack(tmp_path / 'VOCtrainval.tar', VOCdevkit__VOC2010=voc)
    context = pack(tmp_path / 'context.tgz', trainval=pascal_mt / 'pascal-context' / 'trainval')
    parts = pack(tmp_path / 'parts.tgz', Annotations_Part=pascal_mt / 'human_parts')
    out = tmp_path / 'out'
    printed = run_tool(TOOL, archive, '--context', context, '--parts', parts, '--out', out, '--allow-partial')

    assert f'{out}: complete' in printed
    for split, names in NAMES.items():
        assert (out / f'ImageSets/Context/{split}.txt').read_text().split() == names
    assert not (out / 'sal_distill').exists()
    labels = cv2.imread(str(out / f'semseg/pascal-context/{DOG}.png'), cv2.IMREAD_UNCHANGED)
    rows = np.arange(61)
    # Person (284) is class 15; wall (440) and sky (360) are none of the 20.
    assert np.array_equal(labels, np.repeat(np.where((rows >= 20) & (rows < 40), 15, 0)[:, None], 83, axis=1))
    assert (loadmat(out / f'pascal-context/trainval/{DOG}.mat')['LabelMap'][0] == 440).all()
    assert count_items(out) == {'train': 1, 'val': 1}
    manifest = json.loads((out / 'manifest.json').read_text())
    assert [source['name'] for source in manifest['sources']] == ['VOCtrainval.tar', 'context.tgz', 'parts.tgz']
    assert not any(key.startswith(('saliency', 'normals', 'edge')) for key in manifest['counts'])


@pytest.mark.parametrize('option', ['--context', '--parts'])
def test_originals_belong_together(run_tool: Run, tmp_path: Path, option: str) -> None:
    with pytest.raises(SystemExit, match='--context.*--parts.*--out'):
        run_tool(TOOL, tmp_path / 'VOC.tar', option, tmp_path / 'other.tar', '--out', tmp_path / 'out')


def test_labels_of_the_original_that_do_not_exist(root: Path) -> None:
    to_voc = runpy.run_path(str(root / TOOL))['to_voc']
    assert to_voc(np.array([[284, 459, 0]]), Path('a.mat')).tolist() == [[15, 0, 0]]
    for wrong in (np.array([[460]]), np.array([[-1]]), np.array([284]), np.array([[284.0]])):
        with pytest.raises(ValueError, match=r'a\.mat: LabelMap'):
            to_voc(wrong, Path('a.mat'))


def test_an_object_without_pixels_has_no_class(root: Path, tmp_path: Path) -> None:
    for name, text in (
        ('ImageSets/Context/train.txt', 'a\n'),
        ('ImageSets/Context/val.txt', ''),
        ('human_parts/a.mat', ''),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    objects = [(15, np.ones((2, 2), bool), {}), (12, np.zeros((2, 2), bool), {})]
    runpy.run_path(str(root / TOOL))['list_parts'](tmp_path, lambda read, path: objects)
    assert json.loads((tmp_path / 'ImageSets/Parts/train.txt').read_text()) == {'a': [15, -1]}
