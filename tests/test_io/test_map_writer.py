"""Predicted maps as files: every task is read back by VideoFolder and ImageFolder."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmmtl.datasets import ImageFolder, VideoFolder
from mmmtl.io import MapWriter, read_raw
from mmmtl.tasks import build_tasks
from mmmtl.tasks.stored import decode_normals, encode_normals

TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes=[f'class {i}' for i in range(200)]),
    parts=dict(type='SemanticSegmentation', classes='human_parts_7', source='human_parts'),
    depth=dict(type='DepthEstimation', max_depth=10.0),
    far=dict(type='DepthEstimation', max_depth=200.0, source='depth_far'),
    disparity=dict(type='DisparityEstimation'),
    raw=dict(type='DisparityEstimation', unit='raw', source='disparity_raw'),
    normals=dict(type='SurfaceNormals'),
    saliency=dict(type='SaliencyDetection'),
    edge=dict(type='EdgeDetection'),
)
PIPELINE = [dict(type=f'mmmtl.{name}') for name in ('LoadFrames', 'LoadMaps', 'PackMultiTaskInputs')]
HALF = dict(depth=0.5e-3, far=0.5 / 256, disparity=0.5 / 256, raw=0.5 / 65535, saliency=0.5 / 255, edge=0.5 / 255)
"""Half a unit of the stored numbers, in the task's unit."""
SIZE = (24, 32)


def predict(seed: int, size: tuple[int, int] = SIZE) -> dict[str, np.ndarray]:
    """A map of every task, as a model gives them."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(3, *size)).astype(np.float32)
    normals[2] = -np.abs(normals[2])
    maps = dict(
        semseg=rng.integers(0, 200, (1, *size)),
        parts=rng.integers(0, 7, (1, *size)),
        depth=rng.uniform(1e-3, 10, (1, *size)),
        far=rng.uniform(1, 200, (1, *size)),
        disparity=rng.uniform(0.1, 200, (1, *size)),
        raw=rng.uniform(0.001, 0.9, (1, *size)),
        normals=normals / np.linalg.norm(normals, axis=0),
        saliency=rng.random((1, *size)),
        edge=rng.random((1, *size)),
    )
    return {name: array if array.dtype.kind == 'i' else array.astype(np.float32) for name, array in maps.items()}


def photo(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((*size, 3), 10 * seed, np.uint8)


def read(dataset: Any) -> dict[tuple[str, int], Any]:
    return {(item['data_samples'].video, item['data_samples'].time): item for item in dataset}


def compare(gt: Any, wanted: dict[str, np.ndarray], *, npy: bool) -> None:
    assert set(gt.keys()) == set(TASKS)
    for name, array in wanted.items():
        found = gt.get(name).numpy()
        assert found.shape == array.shape
        if array.dtype.kind == 'i':
            np.testing.assert_array_equal(found, array)
        elif npy:
            # The data set holds pixels: a raw value is converted twice.
            np.testing.assert_allclose(found, array, rtol=1e-6 if name == 'raw' else 0)
        elif name == 'normals':
            assert np.abs(found - array).max() <= 1 / 255
        else:
            assert np.abs(found - array).max() <= HALF[name] * (1 + 1e-3)


@pytest.mark.parametrize('npy', [False, True])
def test_a_video_folder_reads_back_equal(tmp_path: Path, npy: bool) -> None:
    frames = {('drive', 0): 0, ('drive', 1): 1, ('berlin/7', 12): 2}
    with MapWriter(tmp_path / 'maps', build_tasks(TASKS, 'x'), npy=npy) as writer:
        for (video, time), seed in frames.items():
            writer.write(video, time, photo(seed), predict(seed))

    found = read(VideoFolder(str(tmp_path / 'maps'), pipeline=PIPELINE, metainfo=dict(tasks=TASKS)))

    assert found.keys() == frames.keys()
    for key, seed in frames.items():
        compare(found[key]['data_samples'].gt, predict(seed), npy=npy)
        assert np.abs(found[key]['inputs'].numpy().astype(int) - 10 * seed).max() <= 2
    assert json.loads((tmp_path / 'maps/videos.json').read_text()) == {
        'berlin/7': {'length': 1},
        'drive': {'length': 2},
    }
    units = json.loads((tmp_path / 'maps/units.json').read_text())
    grey = dict(saliency='grey', edge='grey')
    assert units == (
        {} if npy else dict(depth='mm', depth_far='m/256', disparity='px/256', disparity_raw='px/256', **grey)
    )
    assert not list((tmp_path / 'maps').rglob('*partial*'))


@pytest.mark.parametrize('npy', [False, True])
def test_an_image_folder_reads_back_equal(tmp_path: Path, npy: bool) -> None:
    names = {'a': 0, 'berlin/b.c': 1}
    sizes = {'a': (24, 32), 'berlin/b.c': (20, 12)}
    with MapWriter(tmp_path, build_tasks(TASKS, 'x'), stills=True, npy=npy) as writer:
        for name, seed in names.items():
            writer.write(name, 0, photo(seed, sizes[name]), predict(seed, sizes[name]))

    found = read(ImageFolder(str(tmp_path), pipeline=PIPELINE, metainfo=dict(tasks=TASKS)))

    assert found.keys() == {(name, 0) for name in names}
    for name, seed in names.items():
        compare(found[name, 0]['data_samples'].gt, predict(seed, sizes[name]), npy=npy)
        assert (found[name, 0]['inputs'] == 10 * seed).all()


def test_files_are_those_that_the_documentation_names(tmp_path: Path) -> None:
    with MapWriter(tmp_path, build_tasks(TASKS, 'x')) as writer:
        writer.write('drive', 7, photo(0), predict(0))
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*') if path.is_file())
    sources = [task.get('source', name) for name, task in TASKS.items()]
    assert files == sorted(
        ['frames/drive/000007.jpg', 'units.json', 'videos.json', *(f'{s}/drive/000007.png' for s in sources)]
    )
    assert read_raw(tmp_path / 'depth/drive/000007.png').dtype == np.uint16
    assert read_raw(tmp_path / 'semseg/drive/000007.png').dtype == np.uint8


def test_normals_are_coded_to_the_last_step() -> None:
    vectors = np.random.default_rng(0).normal(size=(100_000, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.abs(decode_normals(encode_normals(vectors)) - vectors).max() <= 1 / 255
    rounded = np.rint(127.5 * (vectors + 1))
    assert np.abs(encode_normals(vectors) - rounded).max() == 1, 'a neighbour of the plain code at most'
    assert (encode_normals(np.zeros((1, 3))) == 0).all() and not decode_normals(np.zeros((1, 3), np.uint8)).any()


def test_what_16_bits_cannot_hold(tmp_path: Path) -> None:
    tasks = build_tasks({'depth': dict(type='DepthEstimation', max_depth=10, prediction_range=(None, None))}, 'x')
    depth = np.full((1, *SIZE), 70.0, np.float32)
    with pytest.raises(ValueError, match=r"'depth'.*70.*'mm'.*npy"), MapWriter(tmp_path / 'a', tasks) as writer:
        writer.write('v', 0, photo(0), {'depth': depth})
    assert tasks['depth'].encode(np.array([[-3.0, 4e-4, 6e-4]])).tolist() == [[0, 0, 1]]
    for farthest, unit in ((65, 'mm'), (66, 'm/256'), (300, 'cm'), (6553.5, 0.1)):
        (task,) = build_tasks({'depth': dict(type='DepthEstimation', max_depth=farthest)}, 'x').values()
        assert task.stored_unit == pytest.approx(unit) if isinstance(unit, float) else task.stored_unit == unit
        stored = task.encode(np.array([[float(farthest)]]))
        assert task.interpret(stored, 'f', task.stored_unit)[0, 0] == pytest.approx(farthest, abs=0.05)
    # Predictions may go beyond what is learnt.
    far = dict(type='DepthEstimation', max_depth=10, prediction_range=(None, 100.0))
    assert build_tasks({'depth': far}, 'x')['depth'].stored_unit == 'm/256'


@pytest.mark.parametrize('npy', [False, True])
@pytest.mark.parametrize(
    ('name', 'values', 'message'),
    [
        ('saliency', [0, 255], 'from 0 to 255.* 0..1'),
        ('edge', [-0.5, 1.0], 'from -0.5 to 1,'),
        ('saliency', [0.5, float('nan')], 'nan'),
        ('parts', [6, 7, 256, -1], r'\[-1, 7, 256\].*0\.\.6'),
        ('parts', [1.5, float('nan')], r'\[1\.5, nan\]'),
        ('normals', [0.5], r'length 0\.866025 to 0\.866025'),
        ('normals', [float('nan')], 'length nan'),
    ],
)
def test_what_no_prediction_holds(tmp_path: Path, name: str, values: list[float], message: str, npy: bool) -> None:
    tasks = build_tasks(TASKS, 'x')
    array = np.resize(np.array(values), (tasks[name].map_channels, *SIZE))
    with (
        pytest.raises(ValueError, match=f'{name!r}.*{message}'),
        MapWriter(tmp_path / 'a', tasks, npy=npy) as writer,
    ):
        writer.write('v', 0, photo(0), {'far': predict(0)['far'], name: array})
    assert not list(tmp_path.rglob('000000.*'))


def test_what_predictions_may_hold() -> None:
    tasks = build_tasks(TASKS, 'x')
    # Rounding takes a probability beyond its range, and another model may leave pixels without a class.
    assert tasks['edge'].export(np.array([[[-1e-7, 1 + 1e-7]]])).tolist() == [[0, 1]]
    assert tasks['parts'].export(np.array([[[6, 255]]])).tolist() == [[6, 255]]


def test_inputs_are_safe(tmp_path: Path) -> None:
    tasks = build_tasks(TASKS, 'x')
    (tmp_path / 'mine.txt').write_text('mine')
    with pytest.raises(ValueError, match=str(tmp_path)), MapWriter(tmp_path, tasks):
        pass
    with MapWriter(tmp_path / 'new', tasks) as writer:
        for name in ('../mine', '/mine', '', 'a/../../b', 'a\\b'):
            with pytest.raises(ValueError, match='name'):
                writer.write(name, 0, photo(0), predict(0))
        with pytest.raises(ValueError, match=r"'semseg'.*\(24, 32\).*\(20, 32\)"):
            writer.write('v', 0, photo(0, (20, 32)), predict(0))
    assert [path.name for path in tmp_path.iterdir()] == ['mine.txt']


def test_tasks_of_one_source_get_folders_of_their_own(tmp_path: Path) -> None:
    tasks = {name: dict(type='SemanticSegmentation', classes=['a', 'b'], source='labels') for name in ('one', 'two')}
    with MapWriter(tmp_path, build_tasks(tasks, 'x')) as writer:
        writer.write('v', 0, photo(0), {name: np.zeros((1, *SIZE), int) for name in tasks})
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {'frames', 'one', 'two'}


@pytest.mark.parametrize(('folder', 'stills'), [('frames', False), ('images', True)])
def test_maps_do_not_go_where_the_images_go(tmp_path: Path, folder: str, stills: bool) -> None:
    tasks = build_tasks({folder: dict(type='SaliencyDetection')}, 'x')
    MapWriter(tmp_path, tasks, stills=not stills)
    with pytest.raises(ValueError, match=f'{folder!r}.*rename'):
        MapWriter(tmp_path, tasks, stills=stills)


def test_two_tasks_do_not_share_a_folder(tmp_path: Path) -> None:
    sources = dict(near='depth', far='depth', raw='far')
    tasks = {name: dict(type='DepthEstimation', max_depth=10.0, source=source) for name, source in sources.items()}
    with pytest.raises(ValueError, match=r"\['far', 'raw'\].*'far'; rename"):
        MapWriter(tmp_path, build_tasks(tasks, 'x'))


def test_a_unit_of_the_config_must_be_that_of_the_files(tmp_path: Path) -> None:
    with MapWriter(tmp_path, build_tasks(TASKS, 'x')) as writer:
        writer.write('v', 0, photo(0), predict(0))
    arguments: dict[str, Any] = dict(pipeline=PIPELINE, metainfo=dict(tasks=TASKS))
    assert len(VideoFolder(str(tmp_path), unit=dict(depth='mm'), **arguments)) == 1
    with pytest.raises(ValueError, match=r"units\.json.*'depth'.*'mm'.*'cm'"):
        VideoFolder(str(tmp_path), unit=dict(depth='cm'), **arguments)
    for wrong in ('[]', '{"depth": null}', '{"depth": "inch"}'):
        (tmp_path / 'units.json').write_text(wrong)
        with pytest.raises(ValueError, match='unit'):
            VideoFolder(str(tmp_path), **arguments)


def test_what_a_kill_leaves_can_be_read(tmp_path: Path) -> None:
    tasks = dict(depth=TASKS['depth'])
    writer = MapWriter(tmp_path, build_tasks(tasks, 'x')).__enter__()
    for video, time in (('a', 0), ('a', 1), ('b', 0), ('b', 1)):
        writer.write(video, time, photo(1), dict(depth=predict(1)['depth']))
    dataset = VideoFolder(str(tmp_path), pipeline=PIPELINE, metainfo=dict(tasks=tasks))
    assert list(read(dataset)) == [('a', 0), ('a', 1), ('b', 0), ('b', 1)]


def test_a_writer_adds_to_the_videos_that_are_there(tmp_path: Path) -> None:
    tasks = build_tasks(dict(depth=TASKS['depth']), 'x')
    for append, video in ((False, 'a'), (True, 'b')):
        with MapWriter(tmp_path, tasks, append=append) as writer:
            writer.write(video, 0, photo(1), dict(depth=predict(1)['depth']))
    assert json.loads((tmp_path / 'videos.json').read_text()) == {'a': {'length': 1}, 'b': {'length': 1}}


def test_writers_of_one_folder_leave_no_list_that_lacks_videos(tmp_path: Path) -> None:
    tasks = build_tasks(dict(depth=TASKS['depth']), 'x')
    for video in 'ab':
        MapWriter(tmp_path, tasks).write(video, 0, photo(1), dict(depth=predict(1)['depth']))
    assert not (tmp_path / 'videos.json').exists()


def test_threads_share_a_writer(tmp_path: Path) -> None:
    tasks = build_tasks(dict(depth=TASKS['depth']), 'x')
    names = [f'video{number}' for number in range(16)]
    with MapWriter(tmp_path, tasks) as writer, ThreadPoolExecutor(8) as pool:
        writer.lengths['waits'] = 0
        list(pool.map(lambda name: writer.write(name, 0, photo(1), dict(depth=predict(1)['depth'])), names))
        # Before the block ends, as a kill would leave it.
        assert sorted(json.loads((tmp_path / 'videos.json').read_text())) == sorted(names)
