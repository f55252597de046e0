"""Resumed runs: they go on as the interrupted one would have, or say what is different."""

from __future__ import annotations

import copy
import inspect
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import LinearLR, OptimWrapper, StepLR
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn

from mmmtl.engine import AccumulationHook, AmpOptimWrapper, build_runner, find_checkpoint
from mmmtl.engine.checkpoint_files import make_plain
from mmmtl.engine.hooks import ResumeHook
from mmmtl.engine.hooks.checkpoint_guard_hook import without_functions
from mmmtl.engine.resumed_schedule import differences, replay
from mmmtl.engine.training_record import changes, training_record
from mmmtl.reporting.logs import read_logs

from .conftest import MakeConfig


class Rates(Hook):
    """A hook that records the learning rate of every iteration."""

    def __init__(self) -> None:
        self.seen: dict[int, float] = {}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.seen[runner.iter + 1] = next(iter(runner.optim_wrapper.get_lr().values()))[0]


def rates(cfg: Config) -> tuple[Runner, dict[int, float]]:
    runner, hook = build_runner(cfg), Rates()
    runner.register_hook(hook)
    runner.train()
    return runner, hook.seen


def assert_same(first: Path, second: Path) -> None:
    one, two = (torch.load(path, weights_only=True) for path in (first, second))
    for name, value in one['state_dict'].items():
        assert torch.equal(value, two['state_dict'][name]), name
    assert str(one['optimizer']) == str(two['optimizer'])
    assert one.get('param_schedulers') == two.get('param_schedulers')


class Killed(Exception):
    pass


class KillHook(Hook):
    def __init__(self, at: int) -> None:
        self.at = at

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.iter == self.at:
            raise Killed


def test_a_resumed_run_needs_no_pretrained_weights(make_config: MakeConfig, tmp_path: Path) -> None:
    weights = tmp_path / 'pretrained.pth'
    options: dict[str, Any] = {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2}
    plain = build_runner(make_config('tiny_image', 'pretraining', **options))
    torch.save(plain.model.backbone.state_dict(), weights)
    options['model.backbone.init_cfg'] = dict(type='Pretrained', checkpoint=str(weights))
    build_runner(make_config('tiny_image', 'run', **options)).train()
    build_runner(make_config('tiny_image', 'whole', **{**options, 'train_cfg.max_iters': 4})).train()
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r'pretrained\.pth: no such checkpoint'):
        build_runner(make_config('tiny_image', 'new', **options)).train()
    resumed = make_config('tiny_image', 'run', **{**options, 'train_cfg.max_iters': 4, 'resume': True})
    build_runner(resumed).train()
    assert_same(tmp_path / 'whole/iter_4.pth', tmp_path / 'run/iter_4.pth')


def test_a_validation_killed_between_two_updates_changes_nothing(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    options = {
        'train_cfg.max_iters': 4,
        'train_cfg.val_interval': 2,
        'train_dataloader.batch_size': 1,
        'optim_wrapper.accumulative_counts': 3,
        'param_scheduler': [dict(type='OneCycleLR', eta_max=0.01, total_steps=4, by_epoch=False)],
        'default_hooks.checkpoint': dict(interval=2, max_keep_ckpts=1, save_best='depth/abs_err'),
    }
    whole = build_runner(make_config('tiny_image', 'whole', **options))
    whole.train()
    killed = build_runner(make_config('tiny_image', 'killed', **options))
    killed.register_hook(KillHook(at=2))
    with pytest.raises(Killed):
        killed.train()
    found = find_checkpoint(killed.work_dir)
    assert found is not None and found.name == 'iter_2.pth'
    stored = torch.load(found, weights_only=True)['accumulated']
    assert stored['counts'] == {'': 2} and len(stored['gradients']) > 10

    other = {**options, 'optim_wrapper.accumulative_counts': 2}
    with pytest.raises(ValueError, match=r"accumulative_counts=\{'': 3\}, not \{'': 2\}"):
        build_runner(make_config('tiny_image', 'other', load_from=str(found), resume=True, **other)).train()
    resumed = build_runner(make_config('tiny_image', 'killed', resume=True, **options))
    resumed.logger.addHandler(caplog.handler)
    resumed.train()
    assert not [record for record in caplog.records if 'gradient of some iterations' in record.getMessage()]

    assert_same(Path(whole.work_dir) / 'iter_4.pth', Path(resumed.work_dir) / 'iter_4.pth')
    one, two = (sorted(p.name for p in Path(run.work_dir).glob('*.pth')) for run in (whole, resumed))
    assert one == two and len(one) == 2
    for name in one:
        hubs = [torch.load(Path(run.work_dir) / name, weights_only=True)['message_hub'] for run in (whole, resumed)]
        values = [hub['log_scalars']['val/depth/abs_err'][0] for hub in hubs]
        assert values[0] == values[1] and len(values[0]) >= 1
        assert hubs[0]['runtime_info']['best_score'] == hubs[1]['runtime_info']['best_score']


def fake_run(wrapper: OptimWrapper, layer: torch.nn.Module) -> SimpleNamespace:
    return SimpleNamespace(
        optim_wrapper=wrapper,
        model=layer,
        _resume=True,
        build_optim_wrapper=lambda wrapper: wrapper,
        logger=logging.getLogger('fake'),
    )


@pytest.mark.parametrize(
    ('done', 'meta', 'missing'),
    [
        (4, {}, True),
        (4, {'validated': True}, False),
        (4, {'batches_of_epoch': [3, 9]}, False),  # in the middle of an epoch
        (5, {}, False),
        (2, {}, False),  # before `val_begin`
        (7, {}, True),  # the last one
    ],
)
@pytest.mark.parametrize('kind', [EpochBasedTrainLoop, IterBasedTrainLoop])
def test_a_validation_that_was_due_and_is_missing_is_done(
    kind: type, done: int, meta: dict[str, Any], missing: bool
) -> None:
    loop = kind.__new__(kind)
    intervals = dict(val_begin=3, val_interval=2, dynamic_milestones=[0], dynamic_intervals=[2])
    vars(loop).update(_epoch=done, _iter=done, **intervals)
    wrapper = OptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0))
    validated: list[int] = []
    run: Any = fake_run(wrapper, nn.Linear(1, 1))
    vars(run).update(train_loop=loop, epoch=done, iter=done, max_epochs=7, max_iters=7, param_schedulers=None)
    vars(run).update(cfg=Config(dict(model={})), val_loop=SimpleNamespace(run=lambda: validated.append(done)))
    counts = {'epoch': done, 'iter': done}

    hook = ResumeHook()
    hook.after_load_checkpoint(run, {'meta': {**counts, **meta}, 'optimizer': wrapper.state_dict()})
    hook.before_train(run)
    assert validated == [done] * missing


def test_an_overflow_of_scaled_gradients_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scaler leaves out the update that it would spoil; without one, such gradients are an error."""
    layer = torch.nn.Linear(2, 2)
    wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD(layer.parameters(), lr=0.1), accumulative_counts=2)
    wrapper._inner_count, wrapper._max_counts = 1, 10
    layer.weight.grad = torch.full((2, 2), torch.inf)
    hook, checkpoint = AccumulationHook(), {'optimizer': {}}
    run = fake_run(wrapper, layer)
    with pytest.raises(FloatingPointError, match='1 accumulated gradients'):
        hook.before_save_checkpoint(run, checkpoint)

    monkeypatch.setattr(wrapper, 'loss_scaler', torch.amp.GradScaler('cpu'))
    hook.before_save_checkpoint(run, checkpoint)
    assert checkpoint['accumulated']['gradients']['weight'].isinf().all()
    hook.after_load_checkpoint(run, checkpoint)
    monkeypatch.setattr(wrapper, 'loss_scaler', None)
    with pytest.raises(ValueError, match='another precision'):
        hook.after_load_checkpoint(run, checkpoint)


ALTERNATING = {
    'model.align_loss.mode': 'alternating',
    'optim_wrapper': dict(
        _delete_=True,
        constructor='AlternatingOptimWrapperConstructor',
        model=dict(optimizer=dict(type='Adam', lr=1e-3), accumulative_counts=4),
        discriminator=dict(optimizer=dict(type='Adam', lr=1e-3), accumulative_counts=2),
    ),
    'param_scheduler': None,
    'train_cfg.max_iters': 7,
    'default_hooks.checkpoint.interval': 3,
}
EPOCHS = {
    'optim_wrapper.accumulative_counts': 4,
    'train_cfg.max_epochs': 2,
    'default_hooks.checkpoint': dict(interval=1, by_epoch=True),
}


@pytest.mark.faults
@pytest.mark.parametrize(('base', 'options'), [('tiny_video_epochs', EPOCHS), ('tiny_video', ALTERNATING)])
def test_accumulated_gradients_are_gone_on_with(make_config: MakeConfig, base: str, options: dict[str, Any]) -> None:
    options = {**options, 'default_hooks.checkpoint.max_keep_ckpts': -1}
    whole = build_runner(make_config(base, 'whole', **copy.deepcopy(options)))
    whole.train()
    first, *_, last = sorted(Path(whole.work_dir).glob('*_*.pth'), key=lambda path: int(path.stem.rpartition('_')[2]))
    assert 'accumulated' in torch.load(first, weights_only=True)

    resumed = build_runner(make_config(base, 'resumed', load_from=str(first), resume=True, **options))
    resumed.train()

    assert_same(last, Path(resumed.work_dir) / last.name)
    assert 'accumulated' not in torch.load(last, weights_only=True)


# Other settings


def resume(make_config: MakeConfig, trained: Runner, /, name: str = 'tiny_video', **options: Any) -> Config:
    path = find_checkpoint(trained.work_dir)
    return make_config(name, 'again', load_from=str(path), resume=True, **{'train_cfg.max_iters': 4, **options})


@pytest.fixture
def warnings_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Runner], list[str]]:
    def watch(runner: Runner) -> list[str]:
        said: list[str] = []
        monkeypatch.setattr(runner.logger, 'warning', lambda message, *_: said.append(message))
        return said

    return watch


def test_the_same_settings_are_not_named(
    trained: Runner, make_config: MakeConfig, warnings_of: Callable[[Runner], list[str]]
) -> None:
    options = {'train_dataloader.num_workers': 1, 'train_cfg.val_interval': 3}
    runner = build_runner(resume(make_config, trained, **options))
    messages = warnings_of(runner)
    runner.train()

    assert not [message for message in messages if 'other settings' in message]


def test_other_settings_are_named_and_count(
    trained: Runner, make_config: MakeConfig, warnings_of: Callable[[Runner], list[str]]
) -> None:
    options = {
        'train_dataloader.batch_size': 1,
        'train_dataloader.dataset.num_videos': 3,
        'key_frame_interval': 3,
        'optim_wrapper.optimizer.lr': 0.5,
        'tasks.depth.loss_weight': 3.0,
    }
    runner = build_runner(resume(make_config, trained, **options))
    messages = warnings_of(runner)
    runner.train()

    (message,) = (message for message in messages if 'other settings' in message)
    for change in (
        'train_dataloader.batch_size: 2 -> 1',
        'train_dataloader.dataset.num_videos: 4 -> 3',
        'train_dataloader.dataset.clip.interval: 5 -> 3',
        'optim_wrapper.optimizer.lr: 0.002 -> 0.5',
        'model.tasks.depth.loss_weight: None -> 3.0',
    ):
        assert change in message
    assert runner.optim_wrapper.param_groups[0]['initial_lr'] == 0.5


def test_without_the_average_the_trained_weights_are_gone_on_with(
    make_config: MakeConfig, tmp_path: Path, warnings_of: Callable[[Runner], list[str]]
) -> None:
    options = {'train_cfg.max_iters': 2, 'default_hooks.checkpoint.interval': 2}
    averaged = [dict(type='EMAHook', momentum=0.5)]
    first = build_runner(make_config('tiny_image', 'first', custom_hooks=averaged, **options))
    first.train()
    path = tmp_path / 'first' / 'iter_2.pth'
    average = torch.load(path, weights_only=True)['state_dict']
    trained = first.model.state_dict()
    assert any(not torch.equal(value, average[name]) for name, value in trained.items())

    second = build_runner(make_config('tiny_image', 'second', load_from=str(path), resume=True, **options))
    messages = warnings_of(second)
    second.train()

    assert all(torch.equal(value, trained[name]) for name, value in second.model.state_dict().items())
    assert [message for message in messages if 'EMAHook' in message and 'other settings' not in message]


def test_another_optimizer_without_a_record_is_refused(
    trained: Runner, make_config: MakeConfig, tmp_path: Path
) -> None:
    checkpoint = torch.load(find_checkpoint(trained.work_dir), weights_only=True)
    del checkpoint['meta']['trained_with']
    torch.save(checkpoint, tmp_path / 'iter_4.pth')
    options = {'optim_wrapper.optimizer': dict(_delete_=True, type='SGD', lr=0.1)}

    runner = build_runner(make_config(load_from=str(tmp_path / 'iter_4.pth'), resume=True, **options))
    with pytest.raises(ValueError, match=r'not a SGD.*betas'):
        runner.train()


def test_another_seed_is_refused(trained: Runner, make_config: MakeConfig) -> None:
    options = dict(load_from=str(find_checkpoint(trained.work_dir)), resume=True, **{'randomness.seed': 3})
    with pytest.raises(ValueError, match='seed=0, not 3'):
        build_runner(make_config(**options)).train()


@pytest.mark.parametrize(
    ('before', 'now', 'words'),
    [
        (
            {'optim_wrapper.optimizer.type': 'Adam'},
            {'optim_wrapper.optimizer.type': 'AdamW'},
            "type='Adam', not 'AdamW'",
        ),
        ({'optim_wrapper.model.optimizer.type': 'A'}, {'optim_wrapper.optimizer.type': 'A'}, r'model\.optimizer'),
    ],
)
def test_what_cannot_be_gone_on_with_is_refused(before: dict, now: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        differences(before, now)


@pytest.mark.parametrize(
    ('key', 'follows'),
    [
        ('param_scheduler[0].end', True),
        ('train_cfg.max_epochs', True),
        ('optim_wrapper.optimizer.weight_decay', True),
        ('optim_wrapper.model.optimizer.lr', True),
        ('optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult', True),
        ('optim_wrapper.clip_grad.max_norm', False),
        ('train_dataloader.batch_size', False),
    ],
)
def test_the_learning_rates_follow_from_some_settings(key: str, follows: bool) -> None:
    assert differences({key: 1}, {key: 2}) == ({key: (1, 2)}, follows)


@pytest.mark.parametrize(
    'key', ['train_dataloader.batch_size', 'number of processes', 'optim_wrapper.accumulative_counts']
)
def test_a_scaled_learning_rate_follows_the_batch(key: str) -> None:
    before = {key: 2, 'auto_scale_lr.enable': True}
    assert differences(before, {**before, key: 4})[1]
    assert not differences({key: 2}, {key: 4})[1]


def test_a_scaled_learning_rate_counts_accumulated_batches(make_config: MakeConfig) -> None:
    cfg = make_config('tiny_image', **{'optim_wrapper.accumulative_counts': 4})
    runner = build_runner(cfg)
    for enable, expected in ((False, 2e-3), (True, 4e-3)):  # 2 images in 4 batches
        wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
        runner.scale_lr(wrapper, dict(base_batch_size=4, enable=enable))
        assert wrapper.get_lr()['lr'] == pytest.approx([expected])


def test_counts_are_compared_before_schedules_are_replayed(
    trained: Runner, make_config: MakeConfig, tmp_path: Path
) -> None:
    checkpoint = torch.load(find_checkpoint(trained.work_dir), weights_only=True)
    options = {'optim_wrapper.optimizer.lr': 0.5}
    for epoch, iteration, words in ((0, 10**8, '100000000 iters'), (10**8, 4, 'epoch=100000000'), (None, 4, 'epoch')):
        checkpoint['meta'] |= {'epoch': epoch, 'iter': iteration}
        torch.save(checkpoint, tmp_path / 'iter_4.pth')
        runner = build_runner(make_config(load_from=str(tmp_path / 'iter_4.pth'), resume=True, **options))
        with pytest.raises(ValueError, match=words):
            runner.train()


def test_fewer_iterations_than_are_done_are_refused(trained: Runner, make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match=r'after 4 iters.*ends at 3 \(train_cfg\.max_iters\)'):
        build_runner(resume(make_config, trained, **{'train_cfg.max_iters': 3})).train()


def test_a_script_may_resume_by_itself(trained: Runner, make_config: MakeConfig) -> None:
    runner = build_runner(make_config('tiny_image'))
    with pytest.raises(ValueError, match=r'weight.*missing'):  # load_from would accept a part
        runner.resume(str(find_checkpoint(trained.work_dir)))


def test_the_log_of_a_resumed_run_goes_on_from_its_checkpoint(
    trained: Runner, make_config: MakeConfig, tmp_path: Path
) -> None:
    shutil.copytree(trained.work_dir, tmp_path / 'run')
    before = read_logs(tmp_path / 'run')
    assert [*before['loss']] == [1, 2, 3, 4] and [*before['normals/mean']] == [2, 4]
    options = {'load_from': str(tmp_path / 'run/iter_2.pth'), 'resume': True, 'train_cfg.max_iters': 3}
    build_runner(make_config(val_dataloader=None, val_cfg=None, val_evaluator=None, **options)).train()
    assert [*read_logs(tmp_path / 'run')['loss']] == [1, 2, 3]
    assert [*read_logs(tmp_path / 'run')['normals/mean']] == [2]


@pytest.mark.parametrize(('by_epoch', 'step'), [(True, 2), (False, 14)])
def test_validations_count_as_they_are_logged(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, by_epoch: bool, step: int
) -> None:
    def load(runner: Runner, filename: str) -> None:
        runner.train_loop._epoch, runner.train_loop._iter = 2, 14

    monkeypatch.setattr(Runner, 'resume', load)
    runner = build_runner(make_config('tiny_video_epochs', **{'default_hooks.logger.log_metric_by_epoch': by_epoch}))
    runner.resume('epoch_2.pth')
    (written,) = Path(runner.work_dir).glob('*/vis_data/config.py')
    cfg = Config.fromfile(written)
    assert (cfg.resume, cfg.resumed_step, cfg.resumed_validation_step) == (True, 14, step)
    build_runner(cfg)  # a config that can be used again


def test_a_longer_schedule_counts(make_config: MakeConfig) -> None:
    def schedule(end: int) -> dict[str, Any]:
        return {'train_cfg.max_iters': end, 'param_scheduler': [dict(type='PolyLR', power=1, by_epoch=False, end=end)]}

    first, _ = rates(make_config('tiny_image', 'first', **schedule(3)))
    path = str(Path(first.work_dir) / 'iter_3.pth')

    _, resumed = rates(make_config('tiny_image', 'resumed', load_from=path, resume=True, **schedule(5)))
    assert resumed == {4: pytest.approx(2e-3 / 4), 5: 0.0}, 'as in a run of five iterations: 4, 3, 2, 1, 0'

    half = {**schedule(5), 'param_scheduler': schedule(3)['param_scheduler']}
    with pytest.raises(ValueError, match=r'rate is 0.*\[3\].*5'):
        build_runner(make_config('tiny_image', 'half', load_from=path, resume=True, **half)).train()
    plateau = {**schedule(5), 'param_scheduler': [dict(type='ReduceOnPlateauLR', monitor='semseg/mIoU')]}
    with pytest.raises(ValueError, match='follows metrics'):
        build_runner(make_config('tiny_image', 'plateau', load_from=path, resume=True, **plateau)).train()


def epochs_of_five_images(
    make_config: MakeConfig, work_dir: str, number: int, *, batch_size: int, **more: Any
) -> Config:
    options = {
        'train_cfg': dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=number),
        'train_dataloader.sampler.type': 'EpochDrawSampler',
        'train_dataloader.batch_size': batch_size,
        'train_dataloader.dataset.num_videos': 1,
        'param_scheduler': [dict(type='PolyLR', power=1, end=2, convert_to_iter_based=True)],
        'default_hooks.checkpoint': dict(by_epoch=True, interval=1),
        **dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator')),
    }
    return make_config('tiny_image', work_dir, **{**options, **more})


def test_a_schedule_in_epochs_follows_their_length(make_config: MakeConfig) -> None:
    first, _ = rates(epochs_of_five_images(make_config, 'first', 1, batch_size=2))
    more = {'load_from': str(Path(first.work_dir) / 'epoch_1.pth'), 'resume': True}
    _, resumed = rates(epochs_of_five_images(make_config, 'resumed', 2, batch_size=1, **more))
    assert resumed == {3 + k: pytest.approx(2e-3 * (4 - k) / 9, abs=1e-9) for k in range(5)}, 'the last 5 of 10 rates'


def test_a_warm_up_in_iterations_does_not_begin_again_with_shorter_epochs(make_config: MakeConfig) -> None:
    warm_up = dict(type='LinearLR', by_epoch=False, start_factor=0.1, end=5)
    decay = dict(type='PolyLR', power=1, end=2, convert_to_iter_based=True)
    first, _ = rates(epochs_of_five_images(make_config, 'first', 1, batch_size=1, param_scheduler=[warm_up, decay]))
    more = {'load_from': str(Path(first.work_dir) / 'epoch_1.pth'), 'resume': True, 'param_scheduler': [warm_up, decay]}
    _, resumed = rates(epochs_of_five_images(make_config, 'resumed', 2, batch_size=2, **more))
    assert resumed == {6: pytest.approx(2e-3 / 3), 7: pytest.approx(0, abs=1e-9)}, 'the last 2 of 4 rates'


def test_shorter_epochs_end_at_their_last_iteration(make_config: MakeConfig) -> None:
    twice = {'optim_wrapper.accumulative_counts': 2}
    first, _ = rates(epochs_of_five_images(make_config, 'first', 1, batch_size=1, **twice))
    more = {'load_from': str(Path(first.work_dir) / 'epoch_1.pth'), 'resume': True, **twice}
    runner, resumed = rates(epochs_of_five_images(make_config, 'resumed', 2, batch_size=2, **more))
    assert [*resumed] == [6, 7]
    assert runner.iter == runner.max_iters == 7
    assert runner.optim_wrapper.should_update(), 'the gradients of the last iteration are used'


def test_warm_up_by_iteration_and_steps_by_epoch_are_replayed() -> None:
    def build() -> tuple[OptimWrapper, list[Any]]:
        wrapper = OptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0))
        warm_up = LinearLR(wrapper, start_factor=0.1, by_epoch=False, begin=0, end=10)
        return wrapper, [warm_up, StepLR(wrapper, step_size=1, gamma=0.5, by_epoch=True)]

    wrapper, (warm_up, steps) = build()
    for number in range(1, 10):  # one epoch of seven iterations, and two more
        warm_up.step()
        if number == 7:
            steps.step()
    for length in (7, 20):  # the epoch was shorter than those of the second data set
        other, schedulers = build()
        loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
        runner = SimpleNamespace(train_loop=loop, train_dataloader=range(length), param_schedulers=schedulers)
        replay(runner, epochs=1, iterations=9)

        assert other.get_lr() == wrapper.get_lr() != {'lr': [1.0]}
        assert [one.last_step for one in schedulers] == [warm_up.last_step, steps.last_step]


def test_records_are_plain_and_comparable(trained: Runner) -> None:
    record = training_record(trained)

    assert make_plain(record, 'record') == record
    assert record['train_dataloader.batch_size'] == 2 and record['randomness.seed'] == 0
    assert record['train_dataloader.dataset.pipeline[2].type'] == 'RandomFlip'
    assert changes({'a': 1, 'b': 2}, {'b': 3, 'c': 4}) == {'a': (1, None), 'b': (2, 3), 'c': (None, 4)}


# Schedulers

ARGUMENTS = {
    'eta_max': 0.1,
    'eta_min': 0.0,
    'total_steps': 20,
    'T_max': 20,
    'periods': [5, 15],
    'restart_weights': [1.0, 0.5],
    'step_size': 3,
    'milestones': [2, 5],
    'gamma': 0.9,
}
SCHEDULERS = sorted(name for name in PARAM_SCHEDULERS.module_dict if name.endswith('LR'))


def schedule(kind: type) -> tuple[OptimWrapper, Any]:
    wrapper = OptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9))
    wanted = {name for cls in kind.__mro__ for name in inspect.signature(cls.__init__).parameters}
    required = {'CosineAnnealingLR': {'eta_min', 'T_max'}}.get(kind.__name__, set(ARGUMENTS) - {'T_max'})
    arguments = {name: value for name, value in ARGUMENTS.items() if name in wanted & required}
    return wrapper, kind(wrapper, **arguments)


@pytest.mark.parametrize('name', SCHEDULERS)
def test_every_scheduler_can_be_saved_and_resumed(name: str) -> None:
    kind = PARAM_SCHEDULERS.get(name)
    (wrapper, whole), (other, resumed) = schedule(kind), schedule(kind)
    step = (lambda one: one.step({'loss': 1.0})) if 'Plateau' in name else (lambda one: one.step())
    for _ in range(3):
        step(whole)

    state = make_plain(without_functions([whole.state_dict()]), 'param_schedulers')[0]
    other.load_state_dict(wrapper.state_dict())
    resumed.load_state_dict(state)

    for _ in range(8):
        step(whole), step(resumed)
        assert other.get_lr() == wrapper.get_lr()
    assert len(SCHEDULERS) >= 10


def test_a_seed_that_was_drawn_is_kept(trained: Runner, make_config: MakeConfig) -> None:
    runner = build_runner(resume(make_config, trained, randomness=dict(_delete_=True, deterministic=False)))

    assert runner.seed == trained.seed == runner.train_dataloader.sampler.seed


def test_other_tasks_are_refused(trained: Runner, make_config: MakeConfig) -> None:
    cfg = resume(make_config, trained, use_tasks=['depth'])
    with pytest.raises(ValueError, match=r"trained for the tasks \[.*\], not for \['depth'\]; resume with the same"):
        build_runner(cfg).train()
