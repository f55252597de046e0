"""A task and a head of one's own, without a change of the core."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmmtl.apis import MultiTaskInferencer
from mmmtl.config import resolve
from mmmtl.export.onnx_stream import DECODERS
from mmmtl.registry import MODELS, TASKS
from mmmtl.tasks import Task, build_tasks

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / 'projects' / 'example_project'
CONFIG = PROJECT / 'configs' / 'mila-boundary_tiny-k5_1xb8-demo_synthetic-64x128.py'

SMALL = {
    'train_dataloader.batch_size': 2,
    'val_dataloader.batch_size': 4,
    'test_dataloader.batch_size': 4,
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
    'default_hooks.logger.interval': 1,
    **{f'{loader}_dataloader.dataset.size': (32, 64) for loader in ('train', 'val', 'test')},
    **{f'{loader}_dataloader.dataset.num_videos': 1 for loader in ('train', 'val', 'test')},
    **{f'{loader}_dataloader.dataset.length': 8 for loader in ('train', 'val', 'test')},
}


@pytest.fixture(scope='module')
def project() -> Iterator[dict[str, ModuleType]]:
    """Its modules, as `PYTHONPATH=.` and the config's `custom_imports` load them."""
    # Not at the top of this file: the tests of the core's tasks would find what it registers.
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield {
            name: importlib.import_module(f'projects.example_project.{name}')
            for name in ('boundary_detection', 'heads')
        }
    for registry, name in ((TASKS, 'BoundaryDetection'), (MODELS, 'SharedTrunkHead')):
        registry.module_dict.pop(name, None)
    for module in [module for module in sys.modules if module.partition('.')[0] == 'projects']:
        del sys.modules[module]


@pytest.fixture
def task(project: dict[str, ModuleType]) -> Task:
    return build_tasks({'boundary': dict(type='BoundaryDetection', source='semseg', pos_weight=3.0)}, 'the test')[
        'boundary'
    ]


# The task


def test_boundaries_are_made_from_labels(task: Task) -> None:
    labels = np.array([[0, 0, 0, 1], [0, 0, 0, 1], [2, 255, 0, 0], [2, 255, 0, 0]], dtype=np.uint8)

    assert task.source == 'semseg'
    assert (task.interpret(labels.astype(np.uint16), 'a file') == labels).all()
    assert task.convert(labels).tolist() == [[0, 0, 1, 1], [1, 0, 1, 1], [1, -1, 0, 1], [0, -1, 0, 0]]
    # They are the same after a flip, which is made later.
    assert (task.convert(labels[:, ::-1]) == task.convert(labels)[:, ::-1]).all()
    assert (task.convert(labels[::-1]) == task.convert(labels)[::-1]).all()


def test_impossible_maps_are_refused(task: Task) -> None:
    task.check(np.array([[0.0, 1.0, -1.0]]), 'a file')
    for wrong in ([[2.0]], [[-0.5]], [[float('nan')]], [1.0]):
        with pytest.raises(ValueError, match="a file: .*'boundary'"):
            task.check(np.array(wrong), 'a file')


def test_the_loss_is_that_of_the_labelled_pixels(task: Task) -> None:
    logits = torch.tensor([0.0, 2.0, 5.0]).view(1, 1, 1, 3).requires_grad_()
    target = torch.tensor([1.0, 0.0, -1.0]).view(1, 1, 1, 3)

    (loss,) = task.loss(logits, target).values()

    # 3 log 2 for the boundary, log(1 + e^2) off it.
    assert loss.item() == pytest.approx((3 * np.log(2) + np.log(1 + np.exp(2))) / 2, rel=1e-6)
    loss.backward()
    assert logits.grad.flatten().tolist() == pytest.approx([-0.75, 1 / (1 + np.exp(-2)) / 2, 0], rel=1e-6)


def test_a_batch_without_labels_gives_a_zero_tied_to_the_graph(task: Task) -> None:
    logits = torch.ones(1, 1, 2, 2, requires_grad=True)

    (loss,) = task.loss(logits, torch.full((1, 1, 2, 2), task.fill)).values()
    loss.backward()

    assert loss.item() == 0
    assert not logits.grad.any()


def test_metrics_by_hand(task: Task) -> None:
    logits = torch.tensor([[3.0, 1.0, -1.0], [2.0, -2.0, 9.0]]).view(1, 1, 2, 3)
    target = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, -1.0]]).view(1, 2, 3)
    prediction = task.decode(logits)[0]

    assert prediction[0, 0, 0].item() == pytest.approx(1 / (1 + np.exp(-3)))
    totals = task.measure(prediction, target)
    assert totals.tolist() == [5, 2, 1, 1]
    assert task.summarize(totals + totals) == pytest.approx({'f1': 200 / 3, 'precision': 200 / 3, 'recall': 200 / 3})
    assert all(np.isnan(value) for value in task.summarize(0 * totals).values())
    assert task.summarize(task.measure(0 * prediction, target))['f1'] == 0


def test_exported_models_decode_it(task: Task) -> None:
    logits = torch.linspace(-5, 5, 6).view(1, 1, 2, 3)
    decoding = task.decoding()
    assert decoding is not None
    found = DECODERS[decoding['kind']].decode(logits[0].numpy(), decoding)
    np.testing.assert_allclose(found, task.decode(logits)[0], rtol=1e-6)


def test_the_trivial_predictor(task: Task) -> None:
    assert task.constant([np.array([[0.0, -1.0]]), np.array([[1.0, 0.0]])]).tolist() == [[[1.0]]]
    with pytest.raises(ValueError, match="'boundary'"):
        task.constant([np.array([[-1.0]])])


def test_the_picture(task: Task) -> None:
    image = np.full((1, 3, 3), 100, dtype=np.uint8)

    assert task.draw(image, np.array([[[1.0, 0.0, -1.0]]]))[0, :, 0].tolist() == [255, 50, 50]


# The head


def test_tasks_share_the_trunk(project: dict[str, ModuleType]) -> None:
    tasks = build_tasks({'a': dict(type='BoundaryDetection'), 'b': dict(type='SurfaceNormals')}, 'the test')
    torch.manual_seed(0)
    head = MODELS.build(dict(type='SharedTrunkHead', tasks=tasks, in_channels=(4,), channels=(6, 5), num_slots=2))
    slots = [torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)]

    logits = head(slots).logits

    assert {name: tuple(value.shape) for name, value in logits.items()} == {'a': (2, 1, 3, 3), 'b': (2, 3, 3, 3)}
    sum(value.sum() for value in logits.values()).backward()
    assert all(value.grad is not None for value in head.parameters())
    head.eval()
    torch.testing.assert_close(head({'a': slots, 'b': slots}).logits['b'], head(slots).logits['b'])
    torch.testing.assert_close(head([slots[0], None]).logits['a'], head([slots[0], 0 * slots[1]]).logits['a'])


# Both, in the tools


def run_tool(tool: str, *arguments: str, cwd: Path) -> str:
    options = [f'{key}={str(value).replace(" ", "")}' for key, value in SMALL.items()]
    result = subprocess.run(
        [sys.executable, str(ROOT / 'tools' / tool), str(CONFIG), *arguments, '--cfg-options', *options],
        cwd=cwd,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout + result.stderr


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The work directory of two iterations, and what was printed."""
    folder = tmp_path_factory.mktemp('project')
    return folder, run_tool('train.py', '--work-dir', str(folder), cwd=folder)


def test_it_is_trained(trained: tuple[Path, str]) -> None:
    folder, printed = trained
    checkpoint = torch.load(folder / 'iter_2.pth', weights_only=True)

    assert printed.count('boundary.loss_bce') == 2
    assert 'boundary/f1' in printed
    assert list(checkpoint['meta']['dataset_meta']['tasks']) == ['semseg', 'depth', 'normals', 'boundary']
    assert checkpoint['state_dict']['decode_head.predict.boundary.weight'].shape[0] == 1


def test_it_is_tested_and_drawn(trained: tuple[Path, str], tmp_path: Path) -> None:
    checkpoint, out = trained[0] / 'iter_2.pth', tmp_path / 'metrics.json'

    run_tool(
        'test.py',
        *(str(checkpoint), '--out', str(out), '--show-dir', str(tmp_path / 'shown'), '--work-dir', str(tmp_path)),
        *('--tasks', 'boundary'),
        cwd=tmp_path,
    )

    metrics = json.loads(out.read_text())
    assert 0 <= metrics['boundary/f1'] <= 100
    assert 0 <= metrics['offset_2/boundary/recall'] <= 100
    assert len(list((tmp_path / 'shown').glob('*.png'))) == 5


def test_what_it_trained_serves_the_core_for_its_tasks(
    trained: tuple[Path, str], project: dict[str, ModuleType], tmp_path: Path
) -> None:
    image = np.zeros((32, 64, 3), dtype=np.uint8)
    cfg = Config.fromfile(CONFIG)
    assert set(MultiTaskInferencer(cfg, trained[0] / 'iter_2.pth', device='cpu')(image)) == {
        'semseg',
        'depth',
        'normals',
        'boundary',
    }

    # A program that knows nothing of the new kind of task.
    cfg.use_tasks = ['depth']
    cfg.tasks.pop('boundary')
    kind = TASKS.module_dict.pop('BoundaryDetection')
    try:
        assert set(MultiTaskInferencer(cfg, trained[0] / 'iter_2.pth', device='cpu')(image)) == {'depth'}
    finally:
        TASKS.module_dict['BoundaryDetection'] = kind


def test_the_config_adds_one_line_for_the_task(project: dict[str, ModuleType]) -> None:
    cfg: Any = resolve(Config.fromfile(CONFIG))

    assert list(cfg.tasks) == ['semseg', 'depth', 'normals', 'boundary']
    assert cfg.model.tasks == cfg.train_dataloader.dataset.metainfo.tasks == cfg.tasks


def test_the_core_never_imports_projects() -> None:
    sources = [*(ROOT / 'mmmtl').rglob('*.py'), *(ROOT / 'tools').rglob('*.py'), *(ROOT / 'demo').rglob('*.py')]
    assert len(sources) > 60
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ''] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split('.')[0] == 'projects' for name in names), path
