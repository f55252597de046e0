"""The examples of the documentation that are marked as tested, on a tiny model and rendered videos.

`<!-- tested -->` before a block marks it; `<!-- tested: slow -->` leaves it to the slow tests. Blocks run in order:

- Python that begins with a comment `# name.py` is written to this file. With a `_base_` it is a config, and trains.
- Other Python runs, in one namespace for each page.
- Commands run line by line.

CONFIG stands for a config and CHECKPOINT for its weights; VIDEO is a config of a video model.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mmmtl import commands, registry
from mmmtl.config import load_config, resolve
from mmmtl.datasets.synthetic import make_scene, render
from mmmtl.engine import build_runner
from mmmtl.io import VideoWriter
from mmmtl.tasks import build_tasks

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'
MARK = re.compile(r'^<!-- tested(: slow)? -->\n```(\w+)\n(.*?)^```', re.DOTALL | re.MULTILINE)
PAGES = {path.stem: MARK.findall(path.read_text(encoding='utf-8')) for path in sorted(DOCS.glob('*.md'))}
MODELS = {'extending': 'tiny_image'}
SHORT = dict(
    default_hooks=dict(checkpoint=dict(interval=2)),
    train_cfg=dict(max_iters=2, val_interval=2),
    val_dataloader=dict(dataset=dict(length=9)),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=1),
        dict(type='PolyLR', power=0.9, eta_min=1e-5, by_epoch=False, begin=1, end=2),
    ],
)


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the tiny video model."""
    model = registry.MODELS.build(resolve(load_config(ROOT / 'tests/configs/tiny_video.py')).model)
    path = tmp_path_factory.mktemp('weights') / 'w.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Path]:
    """What a reader has: CONFIG.py, its weights, images, a video, and a data set; what a page registers goes again."""
    page = request.node.callspec.params['page']
    for name, model in (('CONFIG', MODELS.get(page, 'tiny_video')), ('VIDEO', 'tiny_video')):
        base = ROOT / f'tests/configs/{model}.py'
        (tmp_path / f'{name}.py').write_text(f'_base_ = {str(base)!r}\n' + settings())
    scene = make_scene(seed=3)
    frames = [render(scene, t, 32, 64) for t in range(6)]
    (tmp_path / 'photos').mkdir()
    for path in ('room.jpg', 'photos/a.jpg'):
        cv2.imwrite(str(tmp_path / path), frames[0].image)
    with VideoWriter(tmp_path / 'room.mp4', 10) as writer:
        for frame in frames:
            writer.write(frame.image)
    drive = tmp_path / 'data/drives/first'
    drive.mkdir(parents=True)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(drive / f'{number}.jpg'), frame.image)
        cv2.imwrite(str(drive / f'{number}_semseg.png'), frame.semseg)
        cv2.imwrite(str(drive / f'{number}_depth.png'), (1000 * frame.depth).clip(0, 65535).astype(np.uint16))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv('LOCAL_RANK', '0')  # train.py would leave it behind
    yield tmp_path
    for kind in (getattr(registry, kind).module_dict for kind in registry.__all__):
        for name in [name for name, component in kind.items() if component.__module__.startswith('my_project.')]:
            del kind[name]
    for module in [module for module in sys.modules if module.partition('.')[0] == 'my_project']:
        del sys.modules[module]


def settings() -> str:
    return '\n'.join(f'{key} = {value!r}' for key, value in SHORT.items()) + "\nlog_level = 'WARNING'\n"


def run_page(page: str, folder: Path, *, slow: bool) -> int:
    """Run the blocks of a page that need no more time than allowed; return their number."""
    names: dict[str, Any] = {}
    done = 0
    for late, language, text in PAGES[page]:
        if late and not slow:
            continue
        if language == 'sh':
            for line in text.replace('CHECKPOINT', 'CHECKPOINT.pth').replace('CONFIG', 'CONFIG.py').splitlines():
                program, *arguments = shlex.split(line, comments=True)
                assert program == 'mmmtl', line
                commands.main(arguments)
        elif found := re.match(r'# ([\w/]+\.py)\n', text):
            path = folder / found[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            if '_base_' in text:
                cfg = load_config(path)
                cfg.work_dir, cfg.experiment_name = str(folder / path.stem), f'{page}_{path.stem}'
                build_runner(cfg).train()
        else:
            exec(text, names)
        done += 1
    return done


@pytest.mark.parametrize('page', [page for page, blocks in PAGES.items() if any(not late for late, *_ in blocks)])
def test_examples_run(page: str, folder: Path, weights: Path) -> None:
    if page == 'training':
        pytest.importorskip('tensorboard')
    (folder / 'CHECKPOINT.pth').symlink_to(weights)
    assert run_page(page, folder, slow=False) >= 3
    if page == 'extending':
        check_extending()


def check_extending() -> None:
    """Compare what components of the page on extending return with what it says of them."""
    depth = build_tasks({'depth': dict(type='DepthEstimation', max_depth=10.0)}, 'the test')
    head = registry.MODELS.build(dict(type='LinearHead', tasks=depth, in_channels=(5, 4)))
    features = head([torch.rand(1, 5, 4, 4), torch.rand(1, 4, 2, 2)]).features['depth']
    assert [map_.shape[1] for map_ in features] == list(head.feature_channels) == [4]
    weighting = registry.MODELS.build(dict(type='EqualNorms', tasks=['a', 'b', 'c']))
    gramian = torch.tensor([16.0, 4.0, 0.0]).diag()
    assert weighting.weigh(gramian, torch.arange(3)).tolist() == [0.5, 1.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize('page', [page for page, blocks in PAGES.items() if any(late for late, *_ in blocks)])
def test_long_examples_run(page: str, folder: Path, weights: Path) -> None:
    if page == 'training':
        pytest.importorskip('tensorboard')
    (folder / 'CHECKPOINT.pth').symlink_to(weights)
    assert run_page(page, folder, slow=True) >= 1
    if page == 'training':
        check_training(folder / 'runs')


def check_training(runs: Path) -> None:
    """Compare what the options of the page on training do with what it says of them."""

    def load(run: str) -> dict[str, Any]:
        return torch.load(runs / run / 'iter_2.pth', weights_only=True)

    assert [*runs.glob('tensorboard/*/vis_data/events.out.tfevents*')]
    assert load('ema')['ema_state_dict'].keys() and 'ema_state_dict' not in load('frozen')
    assert 0 < len(load('frozen')['optimizer']['state']) < len(load('ema')['optimizer']['state'])
    assert [*runs.glob('best/best_semseg_mIoU_iter_*.pth')]
    (log,) = runs.glob('short/*/vis_data/scalars.json')
    assert [line for line in log.read_text().splitlines() if 'loss' in json.loads(line)]


@pytest.mark.slow
@pytest.mark.parametrize('page', ['notebook'])
def test_the_notebook_runs(page: str, folder: Path) -> None:
    cells = json.loads((DOCS / 'notebooks/first_steps.ipynb').read_text(encoding='utf-8'))['cells']
    names: dict[str, Any] = {}
    for cell in cells:
        if cell['cell_type'] == 'code':
            exec(''.join(cell['source']), names)

    assert set(names['maps']) == set(names['cfg'].tasks) and len(names['results']) == 6
