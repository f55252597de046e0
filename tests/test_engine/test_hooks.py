"""Hooks: those of every run, and the one that draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

import mmmtl.engine.hooks.iteration_seed_hook as seed_hook
import mmmtl.engine.hooks.model_hook as model_hook
import mmmtl.engine.hooks.multi_task_visualization_hook as visualization_hook
from mmmtl.datasets.samplers import VideoSampler
from mmmtl.engine import IterationSeedHook, ModelHook, MultiTaskVisualizationHook, build_runner, find_checkpoint
from mmmtl.engine.build import HOOKS_OF_EVERY_RUN
from mmmtl.models.training_observer import TrainingObserver
from mmmtl.registry import TASKS
from mmmtl.structures import MultiTaskDataSample
from mmmtl.tasks import DepthEstimation

from .conftest import MakeConfig

# Random numbers of the model


def draw(hook: IterationSeedHook, *, seed: int = 0, iteration: int = 0) -> list[float]:
    hook.before_train_iter(SimpleNamespace(seed=seed, iter=iteration), batch_idx=0)
    return torch.nn.functional.dropout(torch.ones(64), 0.5).tolist()


def test_dropout_is_a_function_of_seed_iteration_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = IterationSeedHook()
    first = draw(hook, seed=3, iteration=70)
    torch.rand(5)

    assert draw(hook, seed=3, iteration=70) == first
    assert draw(hook, seed=3, iteration=71) != first
    assert draw(hook, seed=4, iteration=70) != first
    monkeypatch.setattr(seed_hook, 'get_rank', lambda: 1)
    assert draw(hook, seed=3, iteration=70) != first


# What follows the training


class Followed(nn.Module, TrainingObserver):
    """A model with dropout and statistics, which follows its own training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)
        self.begun: list[tuple[int, float, int]] = []
        self.again: list[Tensor] = []

    def data_preprocessor(self, data: dict[str, Any], training: bool) -> dict[str, Any]:
        return data

    def forward(self, inputs: Tensor, mode: str) -> dict[str, Tensor]:
        return {'loss': nn.functional.dropout(self.norm(inputs), 0.5).square().sum()}

    def before_iteration(self, iteration: int, progress: float, draw_seed: int) -> None:
        self.begun.append((iteration, progress, draw_seed))

    def after_update(self, losses_now: Callable[[], dict[str, Tensor]]) -> None:
        self.again.append(losses_now()['loss'])


def test_an_observer_sees_the_losses_after_each_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a learning rate of 0 they are those before it, if the random numbers are the same."""

    def follow(rank: int) -> list[tuple[int, float, int]]:
        for module in (seed_hook, model_hook):
            monkeypatch.setattr(module, 'get_rank', lambda: rank)
        model, hooks = Followed(), (IterationSeedHook(), ModelHook())
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0), accumulative_counts=2)
        runner: Any = SimpleNamespace(model=model, optim_wrapper=wrapper, max_iters=4, seed=3)
        losses = []
        for hook in hooks:
            hook.before_train(runner)
        for runner.iter in range(4):
            batch = {'inputs': torch.randn(4, 8, generator=torch.Generator().manual_seed(runner.iter))}
            for hook in hooks:
                hook.before_train_iter(runner, runner.iter, batch)
            losses.append(model(**batch, mode='loss')['loss'])
            wrapper.update_params(losses[-1])
            statistics, state = model.norm.running_mean.clone(), torch.get_rng_state()
            for hook in hooks:
                hook.after_train_iter(runner, runner.iter, batch)
            assert torch.equal(model.norm.running_mean, statistics) and torch.equal(torch.get_rng_state(), state)
        assert [loss.item() for loss in model.again] == [losses[1].item(), losses[3].item()]
        assert not any(loss.requires_grad for loss in model.again)
        return model.begun

    begun = follow(rank=0)
    assert [(number, progress) for number, progress, _ in begun] == [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75)]
    assert len({seed for *_, seed in begun}) == 4 and follow(rank=1) == begun, 'all processes draw the same'


# The place in an epoch


class Watch(Hook):
    """A hook that records what is trained on."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.seen += [(sample.img_path, sample.offset) for sample in data_batch['data_samples']]


def train(cfg: Config) -> tuple[Runner, list[tuple[str, int]]]:
    runner, watch = build_runner(cfg), Watch()
    runner.register_hook(watch)
    runner.train()
    return runner, watch.seen


@pytest.mark.parametrize(
    'iteration', [4, pytest.param(7, marks=pytest.mark.slow), pytest.param(9, marks=pytest.mark.slow)]
)
def test_an_epoch_goes_on_where_its_checkpoint_was_written(make_config: MakeConfig, iteration: int) -> None:
    # Two epochs of seven batches; the seventh checkpoint is written before the epoch is over.
    options = {
        'train_cfg.max_epochs': 2,
        'default_hooks.checkpoint': dict(by_epoch=False, interval=iteration, max_keep_ckpts=-1),
    }
    whole, seen = train(make_config('tiny_video_epochs', 'whole', **options))
    path = Path(whole.work_dir) / f'iter_{iteration}.pth'

    resumed, seen_later = train(
        make_config('tiny_video_epochs', 'resumed', load_from=str(path), resume=True, **options)
    )

    assert len(seen) == 28
    assert seen_later == seen[2 * iteration :]
    assert resumed.epoch == 2 and resumed.iter == 14
    assert resumed.optim_wrapper.get_lr() == whole.optim_wrapper.get_lr()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_an_epoch_of_another_length_cannot_be_gone_on_with(make_config: MakeConfig) -> None:
    options = {'train_cfg.max_epochs': 1, 'default_hooks.checkpoint': dict(by_epoch=False, interval=4)}
    build_runner(make_config('tiny_video_epochs', **options)).train()

    cfg = make_config('tiny_video_epochs', resume=True, **options)
    cfg.load_from = str(Path(cfg.work_dir) / 'iter_4.pth')
    cfg.train_dataloader.batch_size = 1
    with pytest.raises(ValueError, match='4 of 7 batches.* 15;'):
        build_runner(cfg).train()


@pytest.mark.slow
def test_the_end_of_an_epoch_may_be_resumed_with_other_data(make_config: MakeConfig) -> None:
    options = {'train_cfg.max_epochs': 1}
    build_runner(make_config('tiny_video_epochs', **options)).train()

    cfg = make_config('tiny_video_epochs', resume=True, **{'train_cfg.max_epochs': 2, 'train_dataloader.batch_size': 5})
    runner, seen = train(cfg)

    assert runner.epoch == 2
    assert len(seen) == 15


# Losses that are not finite


class PoisonedDepth(DepthEstimation):
    """A task that fails at call number `at`: in its loss, or only in its gradient."""

    def __init__(self, *, at: int, what: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.at = at
        self.what = what
        self._calls = 0

    def loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        self._calls += 1
        losses = super().loss(logits, target)
        if self._calls == self.at:
            # The square root of zero is finite, its slope is not.
            poison = torch.tensor(float('nan')) if self.what == 'loss' else (0 * logits).sum().sqrt()
            losses['loss_l1'] = losses['loss_l1'] + poison
        return losses


@pytest.fixture
def poisoned() -> Iterator[type]:
    TASKS.register_module(module=PoisonedDepth)
    yield PoisonedDepth
    del TASKS.module_dict['PoisonedDepth']


def poisoned_config(make_config: MakeConfig, what: str, at: int) -> Config:
    task = dict(type='PoisonedDepth', max_depth=20.0, what=what, at=at)
    return make_config(**{'tasks.depth': task, 'default_hooks.checkpoint.interval': 2})


def check_last(work_dir: str, iteration: int) -> None:
    path = find_checkpoint(work_dir)
    assert path is not None and path.name == f'iter_{iteration}.pth'
    checkpoint = torch.load(path, weights_only=True)
    assert all(value.isfinite().all() for value in checkpoint['state_dict'].values())


def test_a_loss_that_is_not_finite_stops_training(poisoned: type, make_config: MakeConfig) -> None:
    runner = build_runner(poisoned_config(make_config, 'loss', at=5))

    with pytest.raises(FloatingPointError) as error:
        runner.train()

    message = str(error.value)
    assert message.startswith('depth.loss_l1 is not finite'), 'only the task that is at fault is named'
    assert message.count('train_000') == 2, 'the samples of the batch are named'
    assert runner.iter == 4
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())
    check_last(runner.work_dir, 4)


@pytest.mark.parametrize(('at', 'saved'), [(4, 2), (5, 4)])
def test_weights_that_are_not_finite_stop_training(
    poisoned: type, make_config: MakeConfig, at: int, saved: int
) -> None:
    # After the fourth iteration a checkpoint is due, which must not take the place of a good one.
    runner = build_runner(poisoned_config(make_config, 'gradient', at=at))

    with pytest.raises(FloatingPointError, match='weights are not finite.*') as error:
        runner.train()

    assert ('The step before' in str(error.value)) == (at == 5)
    check_last(runner.work_dir, saved)


def test_weights_behind_an_average_must_be_finite_too(make_config: MakeConfig) -> None:
    """The average still is, until its next update; what would be resumed is not."""

    class Break(Hook):
        def after_train_iter(self, runner: Runner, batch_idx: int, *args: Any, **kwargs: Any) -> None:
            if runner.iter == 3:
                next(runner.model.parameters()).data.fill_(float('nan'))

    options = {'default_hooks.checkpoint.interval': 2}
    runner = build_runner(make_config(custom_hooks=[dict(type='EMAHook', update_buffers=True, interval=10)], **options))
    runner.register_hook(Break(), priority='VERY_HIGH')

    with pytest.raises(FloatingPointError, match='weights are not finite'):
        runner.train()

    check_last(runner.work_dir, 2)


# Panels


class FakeVisualizer:
    def __init__(self) -> None:
        self.added: list[tuple[str, int]] = []

    def draw_sample(self, image: np.ndarray, sample: MultiTaskDataSample) -> np.ndarray:
        return image

    def add_image(self, name: str, image: np.ndarray, step: int) -> None:
        self.added.append((name, step))


def batch(*images: Tensor, offsets: list[int] | None = None) -> tuple[dict, list[MultiTaskDataSample]]:
    metas = [{}] * len(images) if offsets is None else [{'offset': offset} for offset in offsets]
    return {'inputs': list(images)}, [MultiTaskDataSample(metainfo=meta) for meta in metas]


def test_the_current_frame_is_drawn_in_rgb(tmp_path: Path) -> None:
    hook = MultiTaskVisualizationHook(draw=True, interval=1, out_dir=str(tmp_path / 'shown'))
    runner = SimpleNamespace(visualizer=FakeVisualizer(), iter=0)
    clip = torch.zeros(3, 3, 4, 6, dtype=torch.uint8)
    clip[2, 0] = 200  # the current frame is blue, in BGR
    data, outputs = batch(clip, offsets=[3])

    hook.after_test_iter(runner, 0, data, outputs)

    (path,) = (tmp_path / 'shown').iterdir()
    assert path.name == '000000_offset3.png'
    assert (cv2.imread(str(path)) == (200, 0, 0)).all()


def test_every_so_many_samples_are_drawn_whatever_the_batches() -> None:
    hook = MultiTaskVisualizationHook(draw=True, interval=2)
    loader = SimpleNamespace(dataset=None, sampler=None)
    runner = SimpleNamespace(visualizer=FakeVisualizer(), iter=40, val_dataloader=loader)
    image = torch.zeros(3, 4, 6, dtype=torch.uint8)

    for epoch in range(2):
        hook.before_val_epoch(runner)
        for number, size in enumerate((3, 3, 1)):
            hook.after_val_iter(runner, number, *batch(*[image] * size))
        assert runner.visualizer.added == (epoch + 1) * [(f'val_{n:06d}', 40) for n in (0, 2, 4, 6)]


def test_every_offset_is_drawn() -> None:
    hook = MultiTaskVisualizationHook(draw=True, interval=2)
    runner = SimpleNamespace(visualizer=FakeVisualizer(), iter=0)
    image = torch.zeros(3, 3, 4, 6, dtype=torch.uint8)

    for number in range(3):
        hook.after_test_iter(runner, number, *batch(image, image, offsets=[0, 1]))

    assert [name for name, _ in runner.visualizer.added] == [
        'test_000000_offset0',
        'test_000000_offset1',
        'test_000002_offset0',
        'test_000002_offset1',
    ]


def test_two_videos_that_become_one_name_keep_their_panels() -> None:
    hook = MultiTaskVisualizationHook(draw=True, interval=1)
    runner = SimpleNamespace(visualizer=FakeVisualizer(), iter=0)
    image = torch.zeros(3, 4, 6, dtype=torch.uint8)
    samples = [MultiTaskDataSample(metainfo=dict(video=video, time=0)) for video in ('a/b', 'a-b')]

    hook.after_test_iter(runner, 0, {'inputs': [image] * 2}, samples)

    assert [name for name, _ in runner.visualizer.added] == ['test_a-b_000000', 'test_a-b_000000_000001']


def test_processes_draw_different_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visualization_hook, 'get_dist_info', lambda: (1, 2))
    hook = MultiTaskVisualizationHook(draw=True, interval=3)
    runner = SimpleNamespace(visualizer=FakeVisualizer(), iter=0)
    image = torch.zeros(3, 4, 6, dtype=torch.uint8)

    hook.after_test_iter(runner, 0, *batch(*[image] * 5))  # samples 1, 3, 5, 7, 9

    assert [name for name, _ in runner.visualizer.added] == ['test_000003', 'test_000009']


def test_a_process_with_videos_of_its_own_counts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visualization_hook, 'get_dist_info', lambda: (1, 2))
    hook = MultiTaskVisualizationHook(draw=True, interval=2)
    sampler = VideoSampler.__new__(VideoSampler)
    loader = SimpleNamespace(dataset=None, sampler=sampler)
    runner = SimpleNamespace(visualizer=FakeVisualizer(), iter=0, test_dataloader=loader)
    image = torch.zeros(3, 4, 6, dtype=torch.uint8)

    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, *batch(*[image] * 4))

    assert [name for name, _ in runner.visualizer.added] == ['test_000000', 'test_000002']


@pytest.mark.parametrize('stream', [False, True])
def test_processes_keep_panels_of_one_name_in_two_data_sets(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stream: bool
) -> None:
    cfg = make_config()
    part = cfg.test_dataloader.dataset
    cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[part, part])
    if stream:
        cfg.test_cfg = dict(type='StreamTestLoop')
    loader = build_runner(cfg).test_dataloader
    runner = SimpleNamespace(visualizer=FakeVisualizer(), iter=0, test_dataloader=loader)
    count = len(loader.dataset)

    for rank in (0, 1):
        monkeypatch.setattr(visualization_hook, 'get_dist_info', lambda rank=rank: (rank, 2))
        hook = MultiTaskVisualizationHook(draw=True, interval=1, out_dir=str(tmp_path / 'shown'))
        hook.before_test_epoch(runner)
        for index in range(count)[rank * count // 2 :][: count // 2] if stream else range(rank, count, 2):
            item = loader.dataset[index]
            hook.after_test_iter(runner, 0, {'inputs': [item['inputs']]}, [item['data_samples']])

    assert len(list((tmp_path / 'shown').iterdir())) == count > 0


def test_nothing_is_drawn_unless_asked() -> None:
    runner = SimpleNamespace(visualizer=FakeVisualizer(), iter=0)

    MultiTaskVisualizationHook(interval=1).after_test_iter(runner, 0, *batch(torch.zeros(3, 4, 6)))

    assert runner.visualizer.added == []


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match='interval.*0'):
        MultiTaskVisualizationHook(interval=0)


def test_pictures_of_a_run_show_labels_and_predictions(make_config: MakeConfig, tmp_path: Path) -> None:
    options = {'draw': True, 'interval': 2, 'out_dir': str(tmp_path / 'shown')}
    cfg = make_config(**{f'default_hooks.visualization.{key}': value for key, value in options.items()})

    runner = build_runner(cfg)
    runner.test()

    names = sorted(path.name for path in (tmp_path / 'shown').iterdir())
    # Three frames have clips: the first and the third are drawn, at each of the five offsets.
    dataset = runner.test_dataloader.dataset
    items = [dataset.get_data_info(i) for i in range(len(dataset))]
    frames = list(dict.fromkeys((item['video'], item['time']) for item in items))
    assert names == sorted(f'{video}_{time:06d}_offset{o}.png' for video, time in frames[::2] for o in range(5))
    panel = cv2.imread(str(tmp_path / 'shown' / names[0]))
    assert panel.shape[1] == 4 * 4 * 64 + 3 * 2, 'four tiles, four times as large as the maps'


def test_pictures_of_a_validation_go_to_the_backends(make_config: MakeConfig) -> None:
    cfg = make_config(
        **{
            'default_hooks.visualization': dict(type='MultiTaskVisualizationHook', draw=True, interval=3),
            'train_cfg.max_iters': 1,
        }
    )

    build_runner(cfg).train()

    names = sorted(path.name for path in Path(cfg.work_dir).rglob('*.png'))
    (frame,) = {name[:-14] for name in names}
    assert frame.startswith('val_val_') and [name[-14:] for name in names] == [f'_offset{o}_1.png' for o in range(5)]


def test_the_hooks_can_be_named_in_a_config() -> None:
    for name in (hook.__name__ for hook in (*HOOKS_OF_EVERY_RUN, MultiTaskVisualizationHook)):
        assert HOOKS.get(f'mmmtl.{name}') is not None
