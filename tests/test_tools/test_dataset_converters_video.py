"""vkitti2.py, vspw.py, kitti_step.py and dvps.py: archives into the layouts of the data sets, and their counts."""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmmtl.datasets import KITTISTEP, VSPW, CityscapesDVPS, SemKITTIDVPS, VirtualKITTI2

TOOLS = 'tools/dataset_converters'
SEMSEG = dict(type='SemanticSegmentation')
DEPTH = dict(type='DepthEstimation', max_depth=80.0)
IMAGE = np.zeros((2, 3, 3), np.uint8)
GREY = np.zeros((2, 3), np.uint8)
DEEP = np.zeros((2, 3), np.uint16)


def encode(array: np.ndarray, suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, array)[1])


def write_tar(path: Path, files: Mapping[str, np.ndarray | bytes]) -> Path:
    """An archive of images, or of texts."""
    folder = path.parent / f'{path.name}.content'
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else encode(content, Path(name).suffix))
    with tarfile.open(path, 'w') as archive:
        for child in sorted(folder.iterdir()):
            archive.add(child, child.name)
    return path


def tasks(classes: str, **others: dict) -> dict:
    return dict(tasks=dict(semseg=dict(SEMSEG, classes=classes), **others))


def test_vkitti2(run_tool: Callable[..., str], tmp_path: Path) -> None:
    times = range(3)
    archives = [
        write_tar(
            tmp_path / f'vkitti_2.0.3_{kind}.tar',
            {f'Scene02/rain/frames/{kind}/Camera_{c}/{name}_{t:05d}{suffix}': array for c in (0, 1) for t in times},
        )
        for kind, name, suffix, array in (
            ('rgb', 'rgb', '.jpg', IMAGE),
            ('depth', 'depth', '.png', DEEP),
            ('classsegmentation', 'classgt', '.png', IMAGE),
        )
    ]
    out = tmp_path / 'out'
    tool = f'{TOOLS}/vkitti2.py'
    with pytest.raises(SystemExit, match=r'Scene01/rgb\D+0\D+8940\D.*Scene02/classSegmentation\D+6\D+4660'):
        run_tool(tool, *archives, '--out', out)
    assert not out.exists()
    run_tool(tool, *archives, '--out', out, '--allow-partial')
    counts = json.loads((out / 'manifest.json').read_text())['counts']
    assert counts == {f'Scene02/{kind}': 6 for kind in ('classSegmentation', 'depth', 'rgb')}
    data = VirtualKITTI2(out, split='train', cameras=(0, 1), metainfo=tasks('vkitti_14', depth=DEPTH))
    assert len(data) == 6 and set(data.get_data_info(0)['maps']) == {'semseg', 'depth'}
    assert f'{out}: complete' in run_tool(tool, out, '--allow-partial')
    with pytest.raises(SystemExit, match='--out'):
        run_tool(tool, archives[0])
    with pytest.raises(SystemExit, match=r'x\.tar: .*Scene01'):
        run_tool(tool, write_tar(tmp_path / 'x.tar', {'x': b''}), '--out', tmp_path / 'x', '--allow-partial')


def test_vkitti2_counts_are_the_official_ones(run_tool: Callable[..., str], tmp_path: Path) -> None:
    lengths = dict(Scene01=447, Scene02=233, Scene06=270, Scene18=339, Scene20=837)
    folder = tmp_path / 'vkitti2'
    for scene, length in lengths.items():
        for variant in ('clone', 'fog', 'morning', 'overcast', 'rain', 'sunset'):
            rgb = folder / scene / variant / 'frames/rgb'
            rgb.mkdir(parents=True)
            if variant == 'clone':
                (rgb / 'Camera_0').mkdir()
                for time in range(length):
                    (rgb / 'Camera_0' / f'rgb_{time:05d}.jpg').touch()
    # A twentieth of what there must be: one of ten variants, one of two cameras.
    expected = '.*'.join(rf'{scene}/rgb\D+{length}\D+{20 * length}\D' for scene, length in lengths.items())
    with pytest.raises(SystemExit, match=expected):
        run_tool(f'{TOOLS}/vkitti2.py', folder)


def test_vspw(run_tool: Callable[..., str], tmp_path: Path) -> None:
    files: dict[str, np.ndarray | bytes] = {'VSPW_480p/train.txt': b'1_a\n', 'VSPW_480p/val.txt': b'2_b\n'}
    files['VSPW_480p/test.txt'] = b'3_c\n'  # which has no frames
    for video in ('1_a', '2_b'):
        for number in (226, 228):
            files[f'VSPW_480p/data/{video}/origin/{number:08d}.jpg'] = IMAGE
            files[f'VSPW_480p/data/{video}/mask/{number:08d}.png'] = GREY
    files['VSPW_480p/data/2_b/origin/00000228.jpg'] = b''
    files['VSPW_480p/data/2_b/origin/._00000228.jpg'] = b'x'
    archive, out = write_tar(tmp_path / 'VSPW_480p.tar', files), tmp_path / 'out'
    with pytest.raises(SystemExit, match=r'train\D+1\D+2806\D+val\D+1\D+343\D+test\D+0\D+387'):
        run_tool(f'{TOOLS}/vspw.py', archive, '--out', out)
    printed = run_tool(f'{TOOLS}/vspw.py', archive, '--out', out, '--allow-partial')
    assert re.search(r'1\D+1\D+2_b', printed)
    counts = json.loads((out / 'manifest.json').read_text())['counts']
    assert (counts['train'], counts['val/origin'], counts['val/mask'], counts['test']) == (1, 2, 2, 0)
    assert len(VSPW(out, split='train', metainfo=tasks('vspw_124'))) == 2
    assert len(VSPW(out, split='val', metainfo=tasks('vspw_124'))) == 1
    assert f'{out}: complete' in run_tool(f'{TOOLS}/vspw.py', out, '--allow-partial')


def test_kitti_step(run_tool: Callable[..., str], tmp_path: Path) -> None:
    images = tmp_path / 'data_tracking_image_2.zip'
    with zipfile.ZipFile(images, 'w') as archive:
        for part, sequence in (('training', '0000'), ('training', '0002'), ('testing', '0000')):
            for time in range(2):
                archive.writestr(f'{part}/image_02/{sequence}/{time:06d}.png', encode(IMAGE, '.png'))
    maps = {
        f'kitti_step/panoptic_maps/{split}/{sequence}/{time:06d}.png': IMAGE
        for split, sequence in (('train', '0000'), ('val', '0002'))
        for time in range(2)
    }
    archives, out = [images, write_tar(tmp_path / 'kitti-step.tar', maps)], tmp_path / 'out'
    tool = f'{TOOLS}/kitti_step.py'
    with pytest.raises(SystemExit, match=r'images/train\D+2\D+5027\D.*panoptic_maps/val\D+2\D+2981'):
        run_tool(tool, *archives, '--out', out)
    assert not out.exists()
    run_tool(tool, *archives, '--out', out, '--allow-partial')
    assert sorted(path.name for path in tmp_path.iterdir() if 'unpacked' in path.name) == []
    for split, sequence in (('train', '0000'), ('val', '0002')):
        data = KITTISTEP(out, split=split, metainfo=tasks('cityscapes_19'))
        assert [data.get_data_info(i)['video'] for i in range(len(data))] == [sequence] * 2
    assert (out / 'images/test/0000/000001.png').exists()
    assert f'{out}: complete' in run_tool(tool, out, '--allow-partial')
    with pytest.raises(SystemExit, match='training/image_02.*panoptic_maps'):
        run_tool(tool, write_tar(tmp_path / 'x.tar', {'x': b''}), '--out', tmp_path / 'x', '--allow-partial')


def test_cityscapes_dvps(run_tool: Callable[..., str], tmp_path: Path) -> None:
    depth, images, labels = {}, tmp_path / 'leftImg8bit_sequence', tmp_path / 'vps'
    for split, frame in (('train', 'lindau_000003_000004'), ('val', 'frankfurt_000000_000279')):
        depth[f'video_sequence/{split}/000000_000000_{frame}_depth.png'] = DEEP + 256
        image = images / 'val' / frame.split('_')[0] / f'{frame}_leftImg8bit.png'
        image.parent.mkdir(parents=True)
        image.write_bytes(encode(IMAGE, '.png'))
        label = (
            labels
            / split
            / 'panoptic_inst'
            / f'0001_0005_{frame}_{"final_mask" if split == "val" else "gtFine_color"}.png'
        )
        label.parent.mkdir(parents=True)
        label.write_bytes(encode(DEEP + 13002, '.png'))
    archive, out = write_tar(tmp_path / 'depth.tar', depth), tmp_path / 'out'
    arguments = [f'{TOOLS}/dvps.py', 'cityscapes', archive, '--out', out, '--images', images, '--labels', labels]
    with pytest.raises(SystemExit, match=r'train/image\D+1\D+2400\D.*val/depth\D+1\D+300'):
        run_tool(*arguments)
    run_tool(*arguments, '--allow-partial')
    pipeline = [dict(type='mmmtl.LoadFrames'), dict(type='mmmtl.LoadMaps')]
    for split in ('train', 'val'):
        data = CityscapesDVPS(out, split=split, pipeline=pipeline, metainfo=tasks('cityscapes_19', depth=DEPTH))
        assert (data[0]['gt_maps']['semseg'] == 13).all() and (data[0]['gt_maps']['depth'] == 1).all()
    assert f'{out}: complete' in run_tool(f'{TOOLS}/dvps.py', 'cityscapes', out, '--allow-partial')
    with pytest.raises(SystemExit):
        run_tool(f'{TOOLS}/dvps.py', 'cityscapes', archive, '--out', tmp_path / 'x', '--images', images)
    label.rename(tmp_path / 'label.png')
    with pytest.raises(SystemExit, match='panoptic_inst: lacks labels of frankfurt_000000_000279'):
        run_tool(*arguments[:3], '--out', tmp_path / 'y', *arguments[5:], '--allow-partial')
    (tmp_path / 'label.png').rename(label)
    image.unlink()
    with pytest.raises(SystemExit, match=r'frankfurt_000000_000279_leftImg8bit\.png: .*000000_'):
        run_tool(*arguments[:3], '--out', tmp_path / 'y', *arguments[5:], '--allow-partial')
    assert not (tmp_path / 'y').exists()


def test_semkitti_dvps(run_tool: Callable[..., str], tmp_path: Path) -> None:
    files, images = {}, tmp_path / 'sequences'
    for split, sequence in (('train', 3), ('val', 8)):
        stem = f'video_sequence/{split}/{sequence:06d}_000001'
        files |= {f'{stem}_depth_718.856.png': DEEP, f'{stem}_gtFine_class.png': GREY}
        image = images / f'{sequence:02d}/image_2/000001.png'
        image.parent.mkdir(parents=True)
        image.write_bytes(encode(IMAGE, '.png'))
    archive, out = write_tar(tmp_path / 'semkitti.tar', files), tmp_path / 'out'
    run_tool(f'{TOOLS}/dvps.py', 'semkitti', archive, '--out', out, '--images', images, '--allow-partial')
    data = SemKITTIDVPS(out, split='val', metainfo=tasks('semantickitti_19', depth=DEPTH))
    item = data.get_data_info(0)
    assert (item['video'], item['time'], sorted(item['maps'])) == ('000008', 1, ['depth', 'semseg'])
