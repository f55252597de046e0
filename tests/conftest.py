"""What every test shares: one thread, configs as they come, no window, no `gpu` test without a GPU, a small PASCAL.

And functions that run in several processes at once, and a browser.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault('MPLBACKEND', 'Agg')  # before anything imports matplotlib

import cv2
import numpy as np
import torch
import torch.distributed
import yapf.yapflib.yapf_api
from PIL import Image

torch.set_num_threads(1)  # more of them stall one another where cores are shared


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker('gpu'):
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))


@pytest.fixture(autouse=True, scope='session')
def _configs_as_they_come() -> Iterator[None]:
    """Runners print their config; beautifying it takes longer than the runs of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf.yapflib.yapf_api, 'FormatCode', lambda text, **_: (text, True))
        yield


@pytest.fixture
def in_processes(tmp_path: Path) -> Callable[..., list[Any]]:
    """`in_processes(function, count=2)`: the results of function(rank) in processes that gloo joins."""

    def run(function: Callable[[int], Any], count: int = 2) -> list[Any]:
        store = tmp_path / 'store'
        store.unlink(missing_ok=True)

        def be(rank: int) -> None:
            try:
                method = f'file://{store}'
                torch.distributed.init_process_group('gloo', init_method=method, rank=rank, world_size=count)
                found = function(rank), ''
                # If a process ended now, others that are still connecting to it would fail.
                torch.distributed.barrier()
            except BaseException:
                found = None, traceback.format_exc()
            torch.save(found, tmp_path / f'{rank}.pt')

        # Forked, since imports would take most of the time.
        context = multiprocessing.get_context('fork')
        processes = [context.Process(target=be, args=(rank,)) for rank in range(count)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout=600)
            process.kill()
        found = [torch.load(tmp_path / f'{rank}.pt', weights_only=False) for rank in range(count)]
        assert not any(error for _, error in found), '\n'.join(error for _, error in found)
        return [result for result, _ in found]

    return run


PASCAL = {
    '2008_000001': dict(split='train', size=(64, 64), people=True, voc=True),
    '2008_000002': dict(split='train', size=(61, 83), people=False, voc=False),
    '2008_000003': dict(split='train', size=(64, 64), people=None, voc=False),
    '2008_000004': dict(split='val', size=(64, 64), people=True, voc=True),
}
"""Images of `pascal_mt`; `people` is None where nothing is annotated."""


def _structs(fields: str, *rows: tuple[Any, ...]) -> np.ndarray:
    """A struct array (1, N) as MATLAB writes it."""
    array = np.empty((1, len(rows)), dtype=[(field, object) for field in fields.split()])
    for i, row in enumerate(rows):
        array[0, i] = row
    return array


@pytest.fixture
def pascal_mt(tmp_path: Path) -> Path:
    """PASCAL-Context, four images in the layout `PASCAL_MT`, of which one has another size.

    `LabelMap` is wall (440) in rows 0 to 19, person (284) to 39, below sky (360). A person has a head in rows 20 to 23,
    a torso to 31, hands over it in row 31, and feet in row 39; another one has no parts. The image with a dog has
    nobody, that without `people` no object. Masks are class 15 in rows 20 to 39; those with a palette 255 in row 0.
    Normals are (0, -1, 0) in the left half, (0, 0, -1) in the right. Saliency is 120 + row % 16.
    """
    from scipy.io import savemat

    root = tmp_path / 'PASCAL_MT'
    lists: dict[str, list[str]] = {}
    for name, info in PASCAL.items():
        height, width = info['size']
        row = np.repeat(np.arange(height)[:, None], width, axis=1)
        lists.setdefault(info['split'], []).append(name)

        def mask(first: int, last: int, row: np.ndarray = row) -> np.ndarray:
            return ((row >= first) & (row <= last)).astype(np.uint8)

        nobody = np.zeros((0, 0))
        parts = _structs(
            'part_name mask', *(('hair', mask(20, 21)), ('nose', mask(22, 23)), ('torso', mask(24, 31)),
            ('rhand', mask(31, 31)), ('lfoot', mask(39, 39)))
        )  # fmt: skip
        objects = [('person', 15, mask(20, 39), parts), ('person', 15, mask(50, 50), nobody)] if info['people'] else []
        objects += (
            [] if info['people'] is None else [('dog', 12, mask(41, 45), _structs('part_name mask', ('tail', row)))]
        )
        objects = _structs('class class_ind mask parts', *objects) if objects else nobody
        labels = np.select([row < 20, row < 40], [440, 284], 360).astype(np.uint16)
        classes = np.where(mask(20, 39), 15, 0).astype(np.uint8)
        normals = np.full((height, width, 3), (127, 127, 0), dtype=np.uint8)  # RGB: facing -z
        normals[:, : width // 2] = (127, 0, 127)
        for folder, array in dict(
            sal_distill=(120 + row % 16).astype(np.uint8), normals_distill=normals[..., ::-1]
        ).items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(root / folder / f'{name}.png'), array)
        for folder in ('JPEGImages', 'semseg/VOC12', 'semseg/pascal-context', 'human_parts', 'pascal-context/trainval'):
            (root / folder).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(root / f'JPEGImages/{name}.jpg'), np.full((height, width, 3), 100, dtype=np.uint8))
        assert cv2.imwrite(str(root / f'semseg/pascal-context/{name}.png'), classes)
        if info['voc']:
            classes[0] = 255
            image = Image.fromarray(classes)  # a palette makes it one of mode P
            image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
            image.save(root / f'semseg/VOC12/{name}.png')
        savemat(root / f'human_parts/{name}.mat', {'anno': _structs('imname objects', (name, objects))})
        savemat(root / f'pascal-context/trainval/{name}.mat', {'LabelMap': labels}, do_compression=True)
    (root / 'ImageSets' / 'Context').mkdir(parents=True)
    for split, names in lists.items():
        (root / f'ImageSets/Context/{split}.txt').write_text('\n'.join(names) + '\n')
    return root


@pytest.fixture
def chromium() -> Iterator[Any]:
    """A browser without a window, whose camera shows a test picture."""
    playwright = pytest.importorskip('playwright.sync_api')
    with playwright.sync_playwright() as driver:
        own = Path(driver.chromium.executable_path)
        path = str(own) if own.exists() else shutil.which('chromium')
        if path is None:
            pytest.skip('needs chromium: playwright install chromium')
        camera = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']
        # Its sandbox does not work for root, as in containers.
        with driver.chromium.launch(executable_path=path, args=['--no-sandbox', *camera]) as browser:
            yield browser
