"""ImageFolder: images of any names, lists and ratios, and what is refused."""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmmtl.config import load_config, resolve
from mmmtl.datasets import ImageFolder
from mmmtl.datasets.label_check import check_labels
from mmmtl.registry import DATASETS
from mmmtl.registry import TASKS as TASKS_REGISTRY
from mmmtl.tasks import DepthEstimation, SaliencyDetection

TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes=['a', 'b', 'c']),
    depth=dict(type='DepthEstimation', max_depth=10.0),
)
PIPELINE = [dict(type=f'mmmtl.{name}') for name in ('LoadFrames', 'LoadMaps', 'PackMultiTaskInputs')]
NAMES = ('a', 'IMG 7', 'paris/0001', 'straße/b.c', '12', 'x_depth')


@pytest.fixture
def folder(tmp_path: Path, write_image) -> Path:
    """Six images of several formats, all with class i % 3, four with a depth of i + 1 m."""
    for i, name in enumerate(NAMES):
        write_image(tmp_path / 'images' / f'{name}{(".jpg", ".PNG", ".webp", ".bmp", ".tif")[i % 5]}', grey(20 * i))
        write_image(tmp_path / 'semseg' / f'{name}.png', np.full((4, 6), i % 3, np.uint8))
        if i < 4:
            write_image(tmp_path / 'depth' / f'{name}.png', np.full((4, 6), 1000 * (i + 1), np.uint16))
    for junk in ('images/.DS_Store', 'images/Thumbs.db', 'images/paris/._0001.webp', 'semseg/desktop.ini'):
        (tmp_path / junk).write_bytes(b'-')
    write_image(tmp_path / 'images/__MACOSX/c.png', grey(0))
    return tmp_path


def grey(value: int) -> np.ndarray:
    return np.full((4, 6, 3), value, np.uint8)


def build(root: Path, **kwargs: Any) -> ImageFolder:
    return ImageFolder(root, pipeline=PIPELINE, metainfo=dict(tasks=TASKS), **kwargs)


def names(data: ImageFolder) -> list[str]:
    return [data.get_data_info(i)['video'] for i in range(len(data))]


def test_images_and_labels(folder: Path) -> None:
    data = build(folder)
    assert sorted(names(data)) == sorted(NAMES)
    for item in data:
        sample = item['data_samples']
        index = NAMES.index(sample.video)
        assert abs(int(item['inputs'][0, 0, 0]) - 20 * index) <= 1
        assert (sample.gt.semseg == index % 3).all()
        assert ('depth' in sample.gt) == (index < 4)
        assert index >= 4 or (sample.gt.depth == index + 1).all()


def test_lists(folder: Path) -> None:
    (folder / 'train.txt').write_bytes('\ufeffa\r\n\r\n# a comment\r\nparis/0001.webp\r\nIMG 7\r\n'.encode())
    assert names(build(folder, split='train')) == ['a', 'paris/0001', 'IMG 7']
    for text, message in (
        ('a\nb\nstraße/b.c\nd.png\n', r"train\.txt: 2 of 4 names .*\['b', 'd\.png'\]"),
        ('a\n12\na\n', r"train\.txt: \['a'\] occur more than once"),
        ('a\n12\na.jpg\n', r"train\.txt: 'a\.jpg' names a file for the second time"),
        ('\n# nothing\n', r'train\.txt: an empty list'),
    ):
        (folder / 'train.txt').write_text(text)
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            build(folder, split='train')
    (folder / 'train.txt').write_bytes('a\nstraße'.encode('utf-16'))
    with pytest.raises(FileNotFoundError, match=r"1 of 2 names .*\['straße'\]"):
        build(folder, split='train')
    (folder / 'train.txt').write_bytes('straße'.encode('latin-1'))
    with pytest.raises(ValueError, match=r'train\.txt: neither UTF-8 nor UTF-16'):
        build(folder, split='train')
    with pytest.raises(FileNotFoundError, match=r'val\.txt: no such list'):
        build(folder, split='val')


def test_ratios_share_out_all_images(folder: Path) -> None:
    shares = dict(train=0.5, val=0.2, test=0.3)
    parts = {split: names(build(folder, split=split, ratio=shares)) for split in shares}
    # By the hashes of the names: another order would move images from one part to another.
    assert parts == dict(test=['paris/0001', 'x_depth'], train=['12', 'IMG 7', 'straße/b.c'], val=['a'])
    # A dumped config has sorted keys.
    again = dict(sorted(shares.items()))
    assert parts == {split: names(build(folder, split=split, ratio=again)) for split in shares}


@pytest.mark.skipif(sys.platform != 'linux', reason='other systems refuse such names')
def test_ratios_take_names_that_are_not_utf8(folder: Path) -> None:
    (folder / 'images/12.tif').rename(folder / 'images' / os.fsdecode(b'\xe9.tif'))
    (folder / 'semseg/12.png').rename(folder / 'semseg' / os.fsdecode(b'\xe9.png'))
    shares = dict(train=0.5, val=0.5)
    assert sum(len(build(folder, split=split, ratio=shares)) for split in shares) == len(NAMES)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(split='dev', ratio=dict(train=0.5, val=0.5)), "one to 'dev'"),
        (dict(split='val', ratio=dict(train=0.8, val=0.1)), 'add up to 1'),
        (dict(split='val', ratio=dict(train=0.99, val=0.01)), '0.01 selects none of the 6 images'),
    ],
)
def test_ratios_that_are_refused(folder: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(folder, **arguments)
    (folder / 'train.txt').write_text('a\n')
    with pytest.raises(ValueError, match=r'train\.txt: .*`ratio`'):
        build(folder, split='train', ratio=dict(train=0.5, val=0.5))


def test_labels_belong_to_images(folder: Path, write_image) -> None:
    for path in sorted((folder / 'depth').rglob('*.png')):
        path.rename(path.with_name(f'{path.stem}_z.png'))
    with pytest.raises(FileNotFoundError, match=r'depth/.*_z\.png: no image of this name .*\(4 such labels\)'):
        build(folder)
    data = build(folder, ending=dict(depth='_z'))
    assert sum('depth' in item['data_samples'].gt for item in data) == 4
    (folder / 'depth/a_z.png').rename(folder / 'depth/a_z.exr')
    with pytest.raises(ValueError, match=r'a_z\.exr: there is no reader of \.exr'):
        build(folder, ending=dict(depth='_z'))


def test_links_to_folders_are_followed(folder: Path, tmp_path: Path) -> None:
    before = sorted(names(build(folder)))
    inside = folder / 'images' / 'paris'
    inside.rename(tmp_path / 'elsewhere')
    inside.symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'elsewhere' / 'back').symlink_to(folder / 'images')
    (tmp_path / 'elsewhere' / 'round').symlink_to(tmp_path / 'elsewhere')
    (folder / 'images' / 'loop').symlink_to(folder / 'images' / 'loop')
    (folder / 'images' / 'latest').symlink_to(folder / 'images' / 'straße')
    assert sorted(names(build(folder))) == before


def test_two_images_of_one_name(folder: Path, write_image) -> None:
    write_image(folder / 'images/a.png', grey(0))
    with pytest.raises(ValueError, match=r'images/a\.png: .* a\.jpg'):
        build(folder)


def test_other_folders(folder: Path) -> None:
    (folder / 'images').rename(folder / 'photos')
    with pytest.raises(FileNotFoundError, match='images: no images'):
        build(folder)
    assert len(build(folder, images='photos')) == 6


def test_large_files_are_refused_by_the_limit_of_the_data_set(folder: Path) -> None:
    assert len([*build(folder, max_pixels=24)]) == 6
    data = build(folder, max_pixels=23)
    for read in (data.read_image, partial(data.read_map, 'semseg')):
        with pytest.raises(ValueError, match=r'a\.png: 6 x 4 pixels .* limit of 23'):
            read(folder / 'semseg' / 'a.png')


def test_orientation_of_labelled_images(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / 'images/12.tif').unlink()
    Image.new('RGB', (6, 4)).save(folder / 'images/12.jpg', exif=exif)
    index = names(build(folder)).index('12')
    with pytest.raises(ValueError, match=r"12\.jpg: EXIF orientation 6.*'apply' or 'ignore'"):
        build(folder)[index]
    assert build(folder, orientation='ignore')[index]['inputs'].shape == (3, 4, 6)
    with pytest.raises(ValueError, match=r'12\.png: .*turned.*EXIF'):
        build(folder, orientation='apply')[index]


def test_the_example_of_the_documentation_reads_a_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[2]
    text = (root / 'docs/datasets.md').read_text()
    (code,) = re.findall(r'# my_images\.py, in any folder\n(.*?)```', text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/my_images').symlink_to(folder)
    path = tmp_path / 'my_images.py'
    path.write_text(code.replace("'mmmtl::", f"'{root}/configs/"))
    cfg = resolve(load_config(path))
    sizes = []
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        data = DATASETS.build(dict(loader.dataset, type=f'mmmtl.{loader.dataset.type}', pipeline=PIPELINE))
        assert check_labels(data, 'loader') == [] or len(data) == 1
        sizes.append(len(data))
    assert sizes == [5, 1]


def test_labels_that_are_derived_from_those_of_another_task(folder: Path) -> None:
    @TASKS_REGISTRY.register_module(name='Near')
    class Near(SaliencyDetection):
        interpret = DepthEstimation.interpret
        units, takes_step = DepthEstimation.units, DepthEstimation.takes_step

        def convert(self, array: np.ndarray) -> np.ndarray:
            return (array < 2.5).astype(np.float32)

    tasks = {**TASKS, 'near': dict(type='Near', source='depth')}
    try:
        data = ImageFolder(folder, pipeline=PIPELINE, metainfo=dict(tasks=tasks))
        found = {item['data_samples'].video: item['data_samples'].gt for item in data}
        near = [float(found[name].near.mean()) for name in NAMES[:4]]
        assert near == [1, 1, 0, 0] and float(found[NAMES[3]].depth.mean()) == 4
        for order in (['depth', 'near'], ['near', 'depth'], ['near']):
            some = dict(tasks={name: tasks[name] for name in order})
            for unit, wanted in ({}, [1, 1, 0, 0]), (dict(depth='m/5000'), [1, 1, 1, 1]):
                data = ImageFolder(folder, pipeline=PIPELINE, metainfo=some, unit=unit)
                found = {item['data_samples'].video: item['data_samples'].gt for item in data}
                assert [float(found[name].near.mean()) for name in NAMES[:4]] == wanted
        del Near.units
        with pytest.raises(ValueError, match=r"'near'.*'mm'.*of another kind.*`units` and `takes_step`"):
            ImageFolder(folder, pipeline=PIPELINE, metainfo=dict(tasks=tasks), unit=dict(depth='mm'))
        del Near.interpret
        with pytest.raises(ValueError, match=r'interpret = DepthEstimation\.interpret'):
            list(ImageFolder(folder, pipeline=PIPELINE, metainfo=dict(tasks=tasks)))
    finally:
        TASKS_REGISTRY.module_dict.pop('Near')
