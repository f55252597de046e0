"""camvid.py: the 32 colours, the usual splits, and the films' frames under the numbers of the stills."""

from __future__ import annotations

import json
import runpy
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmmtl.datasets import CamVid

TOOL = 'tools/dataset_converters/camvid.py'
SIZE = (72, 96)
TASKS = dict(semseg=dict(type='SemanticSegmentation', classes='camvid_11'))
LOAD = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]
STILLS = ['0001TP_006690', '0001TP_008550', '0006R0_f00930', '0016E5_00010', '0016E5_00014', 'Seq05VD_f00000']


def scene(number: int) -> np.ndarray:
    """An image that differs from frame to frame."""
    image = np.full((*SIZE, 3), 40, np.uint8)
    image[:, 6 * number % 90 : 6 * number % 90 + 6] = 220
    return image


@pytest.fixture
def official(tmp_path: Path) -> list[Path]:
    """The two archives of six stills, and folders of their contents."""
    labels = np.zeros((*SIZE, 3), np.uint8)
    labels[0, :4] = [(128, 128, 128), (64, 192, 0), (192, 0, 192), (0, 0, 0)]  # sky, wall, motorcycle, void
    archives = []
    for folder, suffix in (('701_StillsRaw_full', ''), ('LabeledApproved_full', '_L')):
        archives.append(tmp_path / f'{folder}.zip')
        with zipfile.ZipFile(archives[-1], 'w') as archive:
            for stem in STILLS:
                number = int(stem.split('_')[1].lstrip('f'))
                image = labels[..., ::-1] if suffix else scene(number)
                archive.writestr(f'{folder}/{stem}{suffix}.png', bytes(cv2.imencode('.png', image)[1]))
    return archives


def write_film(path: Path, numbers: Iterable[int], scale: int = 1) -> Path:
    """A film of scenes, `scale` times as large as the stills."""
    size = (scale * SIZE[1], scale * SIZE[0])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 30, size)
    if not writer.isOpened():
        pytest.skip('OpenCV cannot write films here')
    for number in numbers:
        writer.write(cv2.resize(scene(number), size))
    writer.release()
    return path


def test_labels_and_splits(run_tool: Callable[..., str], official: list[Path], tmp_path: Path) -> None:
    out = tmp_path / 'out'
    with pytest.raises(SystemExit, match=r'train\D+4\D+367\D+val\D+0\D+101\D+test\D+2\D+233'):
        run_tool(TOOL, *official, '--out', out)
    run_tool(TOOL, *official, '--out', out, '--allow-partial')
    for split, expected in (('train', ['0001TP', '0006R0', '0016E5', '0016E5']), ('test', ['0001TP', 'Seq05VD'])):
        data = CamVid(out, split=split, frame_step=1, pipeline=LOAD, metainfo=dict(tasks=TASKS))
        assert [data.get_data_info(i)['video'] for i in range(len(data))] == expected
        assert data[0]['gt_maps']['semseg'][0, :5].tolist() == [0, 1, 10, 255, 255]
    assert json.loads((out / 'manifest.json').read_text())['counts']['train'] == 4


def test_the_usual_splits(root: Path) -> None:
    split_of = runpy.run_path(str(root / TOOL))['split_of']
    stems = [f'0001TP_{t:06d}' for t in range(6690, 10381, 30)]
    stems += [f'0006R0_f{t:05d}' for t in range(930, 3931, 30)]
    stems += [f'0016E5_{t:05d}' for t in range(7959, 8160, 2)]
    stems += [f'Seq05VD_f{t:05d}' for t in range(0, 5101, 30)]
    stems += ['0016E5_00390', '0016E5_07980', '0016E5_08640']
    splits = [split_of(stem) for stem in stems]
    assert [splits.count(split) for split in ('train', 'val', 'test')] == [62 + 101 + 3, 101, 62 + 171]


@pytest.mark.parametrize(('off', 'scale'), [(0, 1), (1, 2), (-2, 1)])
def test_the_frames_of_a_film(
    run_tool: Callable[..., str], official: list[Path], tmp_path: Path, off: int, scale: int
) -> None:
    out = tmp_path / 'out'
    # As published its first frame is -1; decoders may find one more or fewer before it.
    film = write_film(tmp_path / '0016E5.avi', range(-1 + off, 19 + off), scale)
    printed = run_tool(TOOL, *official, '--films', film, '--out', out, '--allow-partial')
    assert ('as published, moved by' in printed) == (off != 0) and 'train: 2 of 4 labels have all frames' in printed
    clip = dict(interval=5, offsets=[4], missing='skip')
    data = CamVid(out, split='train', frame_step=1, clip=clip, pipeline=LOAD, metainfo=dict(tasks=TASKS))
    assert [item['time'] for item in data] == [10, 14]
    for item in data:
        for image, back in zip(item['imgs'], (4, 1, 0), strict=True):
            assert np.abs(image.astype(int) - scene(item['time'] - back)).mean() < 4
    # A still is not replaced by the film's frame.
    assert np.array_equal(data[0]['imgs'][2], scene(10)) and np.array_equal(data[1]['imgs'][0], scene(10))
    with pytest.raises(FileNotFoundError, match=r"926.*'0006R0'|6686.*'0001TP'"):
        CamVid(out, split='train', frame_step=1, clip=dict(clip, missing='error'), metainfo=dict(tasks=TASKS))


def test_frames_that_look_alike_are_not_moved(root: Path, tmp_path: Path) -> None:
    tool = runpy.run_path(str(root / TOOL))
    cv2.imwrite(str(tmp_path / 'still.png'), scene(0))
    labelled = dict.fromkeys((10, 14), tmp_path / 'still.png')
    assert tool['find_shift'](write_film(tmp_path / 'f.avi', [0] * 16), tool['Film']('x', 0), labelled) == 0


def test_a_clip_that_lacks_its_first_frame_is_not_complete(root: Path, tmp_path: Path) -> None:
    for split in ('train', 'val', 'test'):
        (tmp_path / split).mkdir()
        (tmp_path / f'{split}annot').mkdir()
    (tmp_path / 'testannot' / 'Seq05VD_f00010.png').touch()
    count = runpy.run_path(str(root / TOOL))['count']
    for number in (9, 8, 7, 6):
        assert count(tmp_path, 4)['test/complete'] == 0
        (tmp_path / 'test' / f'Seq05VD_f{number:05d}.png').touch()
    assert count(tmp_path, 4) == {'train': 0, 'val': 0, 'test': 1, 'test/complete': 1}


def test_what_is_wrong(run_tool: Callable[..., str], official: list[Path], tmp_path: Path) -> None:
    out = tmp_path / 'out'
    for name, message in (
        ('film', r'film\.avi: .*0005VD, 0006R0, 0016E5, 01TP_extract'),
        ('0006R0', r'0006R0\.avi: .*\[930\]'),
    ):
        film = write_film(tmp_path / f'{name}.avi', range(-1, 19))
        with pytest.raises(SystemExit, match=message):
            run_tool(TOOL, *official, '--films', film, '--out', out, '--allow-partial')
    other = tmp_path / 'labels'
    other.mkdir()
    colours = np.full((*SIZE, 3), 129, np.uint8)
    cv2.imwrite(str(other / '0006R0_f00930_L.png'), colours)
    with pytest.raises(SystemExit, match=r'0006R0_f00930_L\.png: .*\(129, 129, 129\)'):
        run_tool(TOOL, official[0], other, '--out', out, '--allow-partial')
    (other / '0006R0_f00930_L.png').rename(other / '0006R0_f00931_L.png')
    with pytest.raises(SystemExit, match=r'0006R0_f00931\.png.*0006R0_f00931_L\.png'):
        run_tool(TOOL, official[0], other, '--out', out, '--allow-partial')
    assert not out.exists()
