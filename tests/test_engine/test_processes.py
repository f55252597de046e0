"""Checks and hooks in several processes: they start alike, and lose no file of each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.structures import PixelData
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmmtl.checkpoint import digest_model
from mmmtl.engine import AccumulationHook, MapWriterHook, MultiTaskVisualizationHook
from mmmtl.engine.hooks.overwrite_hook import OverwriteHook
from mmmtl.engine.processes import check_same_start
from mmmtl.registry import MODELS
from mmmtl.structures import MultiTaskDataSample
from mmmtl.visualization import MultiTaskVisualizer

from .test_two_processes import SHORT, cpu_only, train

InProcesses = Callable[..., list[Any]]


def message_of(function: Callable[[], object]) -> str:
    """Return what a function raises as a ValueError; empty if nothing."""
    try:
        function()
    except ValueError as error:
        return str(error)
    return ''


@pytest.mark.parametrize(
    ('iterations', 'change', 'expected'),
    [((4, 4), 0.0, ''), ((4, 0), 0.0, 'after 4, 0 iterations'), ((4, 4), 1e-6, 'other weights')],
    ids=['the same', 'other iterations', 'other weights'],
)
def test_processes_start_from_one_checkpoint(
    in_processes: InProcesses, iterations: tuple[int, int], change: float, expected: str
) -> None:
    def start(rank: int) -> str:
        model = DistributedDataParallel(nn.BatchNorm2d(3))
        if rank:
            model.module.running_mean += change
        runner: Any = SimpleNamespace(model=model, epoch=0, iter=iterations[rank])
        return message_of(lambda: check_same_start(runner))

    first, second = in_processes(start)
    assert first == second
    assert (expected in first and 'share' in first) if expected else first == ''


def test_a_checkpoint_has_the_mean_of_the_accumulated_gradients(in_processes: InProcesses) -> None:
    def gradients(rank: int) -> dict[str, float]:
        layer = nn.Linear(1, 1)
        wrapper = OptimWrapper(torch.optim.SGD(layer.parameters(), lr=0.1), accumulative_counts=2)
        wrapper._inner_count, wrapper._max_counts = 1, 10
        layer.weight.grad = torch.full((1, 1), 1.0 + 2.0 * rank)
        if rank == 0:  # no loss of the other process has reached the bias
            layer.bias.grad = torch.ones(1)
        run: Any = SimpleNamespace(optim_wrapper=wrapper, model=layer)
        AccumulationHook().before_checkpoint(run)
        return {name: weight.grad.item() for name, weight in layer.named_parameters()}

    assert in_processes(gradients) == 2 * [{'weight': 2.0, 'bias': 0.5}]


def test_the_state_of_a_module_may_hold_more_than_tensors() -> None:
    class Counts(nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {'calls': 3}

        def set_extra_state(self, state: dict[str, int]) -> None: ...

    counting, plain = Counts(2, 2), nn.Linear(2, 2)
    plain.load_state_dict(counting.state_dict(), strict=False)
    assert digest_model(counting) == digest_model(plain)


def test_names_shapes_and_types_tell_models_apart() -> None:
    def digest(name: str, value: torch.Tensor) -> str:
        model = nn.Module()
        model.register_buffer(name, value)
        return digest_model(model)

    values = torch.arange(6.0)
    others = digest('b', values), digest('a', values.view(2, 3)), digest('a', values.view(torch.int32))
    assert digest('a', values) == digest('a', values.clone())
    assert len({digest('a', values), *others}) == 4


@cpu_only
def test_runs_from_two_files_are_refused(
    make_config: Callable[..., Config], in_processes: InProcesses, tmp_path: Path
) -> None:
    """As on two machines that both have a file of this name."""
    cfg = make_config('tiny_video', **SHORT)
    model = MODELS.build({**cfg.model, 'tasks': cfg.tasks})
    for rank in range(2):
        torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / f'weights{rank}.pth')
        with torch.no_grad():
            next(iter(model.parameters())).add_(1)

    def run(rank: int) -> str:
        cfg.load_from = str(tmp_path / f'weights{rank}.pth')
        return message_of(lambda: train(cfg, rank))

    assert all('different checkpoints' in message for message in in_processes(run))


def test_checkpoints_stay_until_every_process_has_read_them(in_processes: InProcesses, tmp_path: Path) -> None:
    (tmp_path / 'iter_2.pth').touch()

    def begin(rank: int) -> bool:
        time.sleep(0.5 * rank)
        found = (tmp_path / 'iter_2.pth').exists()
        runner: Any = SimpleNamespace(work_dir=str(tmp_path), hooks=[])
        OverwriteHook().before_train(runner)
        return found

    assert in_processes(begin) == [True, True]
    assert not (tmp_path / 'iter_2.pth').exists()


def test_two_samples_of_one_name_in_two_processes(in_processes: InProcesses, tmp_path: Path) -> None:
    def finish(rank: int) -> str:
        hook = MapWriterHook(out_dir=str(tmp_path / 'out'))
        hook._written |= {(None, 'drive', rank), (None, 'drive', 7)}
        runner: Any = None
        return message_of(lambda: hook.after_test_epoch(runner))

    assert all(message.startswith('drive, frame 7: two samples') for message in in_processes(finish))


def test_every_process_draws_into_a_folder(in_processes: InProcesses, tmp_path: Path) -> None:
    def draw(rank: int) -> list[str]:
        visualizer = MultiTaskVisualizer(name=f'draws {rank}')
        visualizer.dataset_meta = dict(tasks=dict(depth=dict(type='DepthEstimation', max_depth=10.0)))
        drawn: list[str] = []
        visualizer.add_image = lambda name, *_, **__: drawn.append(name)
        runner: Any = SimpleNamespace(visualizer=visualizer, iter=0)
        sample = MultiTaskDataSample(metainfo=dict(video='drive', time=rank))
        sample.pred = PixelData(depth=torch.ones(1, 32, 32))
        batch = {'inputs': [torch.zeros(3, 32, 32, dtype=torch.uint8)]}
        for folder in (str(tmp_path / 'panels'), None):
            MultiTaskVisualizationHook(draw=True, interval=1, out_dir=folder).after_val_iter(runner, 0, batch, [sample])
        return drawn

    assert in_processes(draw) == [['val_drive_000000'], []]
    assert sorted(path.name for path in (tmp_path / 'panels').iterdir()) == ['drive_000000.png', 'drive_000001.png']
