"""A data set of one's own: `load_frames` alone serves stills, clips and whole videos; arguments are attributes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mmmtl.datasets import Frame, MultiTaskDataset

PIPELINE = [dict(type=f'mmmtl.{name}') for name in ('LoadFrames', 'LoadMaps', 'PackMultiTaskInputs')]
METAINFO = dict(
    tasks=dict(
        semseg=dict(type='SemanticSegmentation', classes=['a', 'b']), depth=dict(type='DepthEstimation', max_depth=9.0)
    )
)


class Drives(MultiTaskDataset):
    """{drive}/{number}.jpg, with {number}_semseg.png and {number}_depth.png beside some."""

    suffix: str = '.jpg'

    def load_frames(self) -> Iterator[Frame]:
        for image in sorted(self.root.glob(f'*/*{self.suffix}')):
            maps = {kind: image.with_name(f'{image.stem}_{kind}.png') for kind in ('semseg', 'depth')}
            found = {kind: path for kind, path in maps.items() if path.exists()}
            yield Frame(image.parent.name, int(image.stem), image, found)


@pytest.fixture
def drives(tmp_path: Path, write_image) -> Path:
    """Two drives of four frames, grey 20 times their number, labelled at 2 and 3; the depth of frame 3 is 1.5 m."""
    for drive in ('north', 'south'):
        for time in range(4):
            write_image(tmp_path / drive / f'{time}.jpg', np.full((4, 6, 3), 20 * time, np.uint8))
        for time in (2, 3):
            write_image(tmp_path / drive / f'{time}_semseg.png', np.full((4, 6), time % 2, np.uint8))
        write_image(tmp_path / drive / '3_depth.png', np.full((4, 6), 1500, np.uint16))
    return tmp_path


def build(root: Path, **kwargs: object) -> MultiTaskDataset:
    return Drives(root, pipeline=PIPELINE, metainfo=METAINFO, **kwargs)


def test_stills(drives: Path) -> None:
    items = [*build(drives)]
    assert [(i['data_samples'].video, i['data_samples'].time, int(i['inputs'][0, 0, 0])) for i in items] == [
        ('north', 2, 40), ('north', 3, 60), ('south', 2, 40), ('south', 3, 60),
    ]  # fmt: skip
    assert items[0]['data_samples'].gt.keys() == ['semseg'] and (items[0]['data_samples'].gt.semseg == 0).all()
    assert (items[1]['data_samples'].gt.semseg == 1).all() and (items[1]['data_samples'].gt.depth == 1.5).all()


def test_clips(drives: Path) -> None:
    items = [*build(drives, clip=dict(interval=3, offsets=[2], missing='skip'))]
    assert [(i['data_samples'].time, i['inputs'][:, 0, 0, 0].tolist()) for i in items] == [
        (2, [0, 20, 40]), (3, [20, 40, 60]),
    ] * 2  # fmt: skip


def test_whole_videos(drives: Path) -> None:
    items = [*build(drives, whole_videos=True)]
    assert [int(i['inputs'][0, 0, 0]) for i in items] == [0, 20, 40, 60] * 2
    assert [len(i['data_samples'].gt.keys()) for i in items] == [0, 0, 1, 2] * 2


def test_arguments_are_annotated_attributes(drives: Path) -> None:
    for path in drives.glob('south/?.jpg'):
        path.rename(path.with_suffix('.jpeg'))
    assert {i['data_samples'].video for i in build(drives, suffix='.jpg')} == {'north'}
    assert {i['data_samples'].video for i in build(drives, suffix='.jpeg')} == {'south'}
    assert {'data_root', 'clip', 'suffix'} <= inspect.signature(Drives).parameters.keys()
    with pytest.raises(TypeError, match='suffx'):
        build(drives, suffx='.jpeg')


def test_one_frame_with_two_images_is_refused(drives: Path, write_image) -> None:
    write_image(drives / 'north/03.jpg', np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(ValueError, match=r'north/3\.jpg: .*north/03\.jpg'):
        build(drives)


def test_a_class_that_lists_no_frames_is_named() -> None:
    class Lists(MultiTaskDataset):
        pass

    with pytest.raises(TypeError, match='Lists.*load_frames'):
        Lists('data', metainfo=METAINFO)  # type: ignore[abstract]
