"""train.py and test.py: what each option of the command line changes, on runs of one or two iterations."""

from __future__ import annotations

import errno
import io
import itertools
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

import mmmtl.engine
from mmmtl.engine import build_runner
from mmmtl.profiling import build_on_meta, count_cost
from mmmtl.reporting import SampleFolder
from mmmtl.reporting.logs import read_logs

from .conftest import rows

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
VIDEO, IMAGE = CONFIGS / 'tiny_video.py', CONFIGS / 'tiny_image.py'
RUN = {'train_cfg.max_iters': 2, 'train_dataloader.dataset.num_videos': 1, 'log_level': 'WARNING'}

_numbers = itertools.count()

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without a GPU')


def options(**more: Any) -> list[str]:
    """--cfg-options of a short run; mmengine finds the parts of a run again by its name."""
    return [f'{key}={value}' for key, value in {**RUN, 'experiment_name': f'tools_{next(_numbers)}', **more}.items()]


@pytest.fixture(autouse=True)
def _rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tools would leave it behind."""
    monkeypatch.setenv('LOCAL_RANK', '0')


@pytest.fixture
def train(run_tool: Callable[..., str], tmp_path: Path) -> Callable[..., list[dict[str, float]]]:
    """Train, and return the log: a dict for each iteration and for each validation."""

    def run(*arguments: object, config: Path = VIDEO, **more: Any) -> list[dict[str, float]]:
        folder = tmp_path / f'run_{next(_numbers)}'
        run_tool('tools/train.py', config, '--work-dir', folder, *arguments, '--cfg-options', *options(**more))
        (log,) = folder.glob('*/vis_data/scalars.json')
        return [json.loads(line) for line in log.read_text().splitlines()]

    return run


@pytest.fixture
def configured(run_tool: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """Return the config that train.py gives to the runner, on a machine that seems to have a GPU."""

    def run(*arguments: object) -> Config:
        found: list[Config] = []

        class Runner:
            def __init__(self, cfg: Config) -> None:
                found.append(cfg)

            def train(self) -> None:
                pass

        with monkeypatch.context() as patch:
            patch.setattr(torch.cuda, 'is_available', lambda: True)
            patch.setattr(mmmtl.engine, 'build_runner', Runner)
            run_tool('tools/train.py', *arguments)
        return found[0]

    return run


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a model after one iteration of training."""
    cfg = Config.fromfile(VIDEO)
    changes = {'train_cfg.max_iters': 1, 'default_hooks.checkpoint.interval': 1}
    cfg.merge_from_dict({**RUN, **changes, 'experiment_name': f'tools_{next(_numbers)}'})
    cfg.work_dir = str(tmp_path_factory.mktemp('checkpoint'))
    build_runner(cfg).train()
    return Path(cfg.work_dir) / 'iter_1.pth'


@pytest.fixture
def test_tool(run_tool: Callable[..., str], checkpoint: Path, tmp_path: Path) -> Callable[..., dict[str, float]]:
    """Test the checkpoint, and return the metrics."""

    def run(*arguments: object, config: Path = VIDEO) -> dict[str, float]:
        out = tmp_path / 'metrics.json'
        common = ('--work-dir', tmp_path / 'test', '--out', out, '--cfg-options', *options())
        printed = run_tool('tools/test.py', config, checkpoint, *arguments, *common)
        assert f'metrics: {out}' in printed
        metrics = json.loads(out.read_text())
        assert metrics.pop('meta')['checkpoint'] == str(checkpoint)
        scores = metrics.pop('class_iou')['semseg']
        assert metrics.pop('confusion')['semseg'].keys() == scores.keys()
        assert list(scores) == ['ground', 'wall', 'ceiling', 'sky', 'box', 'ball', 'pillar']
        assert all(f' {name} ' in printed for name in scores)
        return metrics

    return run


@pytest.fixture
def tested(run_tool: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """Return the config that test.py gives to the runner."""

    def run(*arguments: object, config: Path = VIDEO) -> Config:
        found: list[Config] = []

        def stop(cfg: Config) -> None:
            found.append(cfg)
            raise ValueError('enough')

        monkeypatch.setattr(mmmtl.engine, 'build_runner', stop)
        with pytest.raises(ValueError, match='enough'):
            run_tool('tools/test.py', config, 'weights.pth', '--work-dir', tmp_path, *arguments)
        return found[0]

    return run


def offsets_of(metrics: dict[str, float]) -> list[str]:
    return sorted({key.partition('/')[0] for key in metrics if key.startswith('offset_')})


# ---------------------------------------------------------------- train.py


def test_a_length_scales_the_schedule(configured: Callable[..., Config]) -> None:
    cfg = configured(VIDEO, '--iterations', '6')
    assert (cfg.train_cfg.max_iters, cfg.param_scheduler[0].end, cfg.default_hooks.checkpoint.interval) == (6, 6, 2)
    with pytest.raises(SystemExit, match=r'tiny_video\.py: .*train_cfg\.max_epochs; use --iterations'):
        configured(VIDEO, '--epochs', '6')
    assert configured(CONFIGS / 'tiny_video_epochs.py', '--epochs', '6').train_cfg.max_epochs == 6


def test_a_training_may_start_from_weights_by_their_name(configured: Callable[..., Config], tmp_path: Path) -> None:
    given = (CONFIGS / 'tiny_video.py', '--work-dir', tmp_path, '--cfg-options')
    started = Path(configured(*given, 'load_from=mila-indoor').load_from)
    assert started.name == 'mila-indoor.safetensors' and started.is_file()
    with pytest.raises(SystemExit, match='mila-indor.*mila-indoor'):
        configured(*given, 'load_from=mila-indor')


def test_a_training_goes_on_from_a_checkpoint_of_its_own(configured: Callable[..., Config], tmp_path: Path) -> None:
    checkpoint = tmp_path / 'iter_1.pth'
    checkpoint.touch()
    cfg = configured(VIDEO, '--work-dir', tmp_path, '--resume', checkpoint)
    assert (cfg.resume, cfg.load_from) == (True, str(checkpoint))
    with pytest.raises(SystemExit, match='another training run has left checkpoints'):
        configured(VIDEO, '--work-dir', tmp_path)


def test_no_validate_needs_no_validation_data(train: Callable[..., Any]) -> None:
    every_iteration = {'train_cfg.val_interval': 1}
    validated = train(**every_iteration)
    assert ['depth/abs_err' in entry for entry in validated] == [False, True, False, True]
    without = train('--no-validate', **every_iteration)
    assert ['loss' in entry for entry in without] == [True, True]

    lacking = {**every_iteration, 'val_dataloader.dataset.num_videos': 0}
    assert len(train('--no-validate', **lacking)) == 2
    with pytest.raises(SystemExit, match='SyntheticVideo'):
        train(**lacking)


def test_no_validate_with_save_best(run_tool: Callable[..., str], tmp_path: Path) -> None:
    best = options(**{'default_hooks.checkpoint.save_best': 'auto'})
    printed = run_tool('tools/train.py', VIDEO, '--work-dir', tmp_path, '--no-validate', '--cfg-options', *best)
    assert '--no-validate: no best checkpoint is kept' in printed and (tmp_path / 'iter_2.pth').exists()


def test_no_validate_with_what_needs_validation(train: Callable[..., Any]) -> None:
    hook = dict(type='EarlyStoppingHook', monitor='semseg/mIoU', patience=1)
    with pytest.raises(SystemExit, match=r'custom_hooks\[0\]\.monitor=.*--no-validate'):
        train('--no-validate', custom_hooks=[hook])


@pytest.mark.parametrize('value', [None, '{}', 'None'])
def test_auto_scale_lr_needs_a_base(train: Callable[..., Any], value: str | None) -> None:
    with pytest.raises(SystemExit, match=r'tiny_video\.py.*--auto-scale-lr.*auto_scale_lr.*base_batch_size'):
        train('--auto-scale-lr', **({} if value is None else {'auto_scale_lr': value}))


def test_a_folder_with_checkpoints_is_not_trained_in_again(run_tool: Callable[..., str], tmp_path: Path) -> None:
    run = ('tools/train.py', VIDEO, '--work-dir', tmp_path, '--no-validate')
    run_tool(*run, '--cfg-options', *options(checkpoint_interval=1))
    (tmp_path / 'best_semseg_mIoU_iter_1.pth').write_bytes(b'')
    (tmp_path / 'teacher.pth').write_bytes(b'')
    with pytest.raises(SystemExit, match=r'another training run has left checkpoints \(.*/iter_2\.pth\).*--overwrite'):
        run_tool(*run, '--cfg-options', *options())
    other = tmp_path / 'other' / 'iter_2.pth'
    other.parent.mkdir()
    other.write_bytes((tmp_path / 'iter_2.pth').read_bytes())
    with pytest.raises(SystemExit, match='another training run has left checkpoints'):
        run_tool(*run, '--resume', other, '--cfg-options', *options())
    with pytest.raises(SystemExit, match=r'--overwrite removes what --resume continues'):
        run_tool(*run, '--overwrite', '--resume', '--cfg-options', *options())
    time.sleep(1)  # logs have folders that are named by the second
    # Weights may come from what is overwritten.
    again = {'train_cfg.max_iters': 1, 'randomness.seed': 3, 'load_from': tmp_path / 'iter_2.pth'}
    run_tool(*run, '--overwrite', '--cfg-options', *options(**again))
    assert {path.name for path in tmp_path.glob('*.pth')} == {'iter_1.pth', 'teacher.pth'}
    # The log of the second training alone.
    assert set(read_logs(tmp_path)['loss']) == {1}
    time.sleep(1)
    run_tool(*run, '--resume', '--cfg-options', *options(**{'randomness.seed': 3}))
    assert set(read_logs(tmp_path)['loss']) == {1, 2}


def test_what_the_command_line_gives_is_not_scaled(configured: Callable[..., Config]) -> None:
    given = ('--cfg-options', 'train_cfg.val_interval=3', 'param_scheduler.0.begin=1')
    cfg = configured(VIDEO, '--iterations', 6, *given)
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (6, 3)
    assert (cfg.param_scheduler[0].begin, cfg.param_scheduler[0].end) == (1, 6)
    with pytest.raises(SystemExit, match=r'train_cfg\.max_iters: --iterations or --epochs sets the length'):
        configured(VIDEO, '--iterations', 6, '--cfg-options', 'train_cfg.max_iters=7')


def test_auto_scale_lr_scales(train: Callable[..., Any]) -> None:
    base = {'auto_scale_lr.base_batch_size': 8}
    # 2e-3 for a batch of 8; the batch here is 2. The schedule falls to 0 in 11 steps, with the power 0.9.
    expected = [5e-4, 5e-4 * (10 / 11) ** 0.9]
    assert [entry['lr'] for entry in train('--auto-scale-lr', '--no-validate', **base)] == pytest.approx(expected)
    asked = train('--no-validate', **base)
    assert [entry['lr'] for entry in asked] == pytest.approx([4 * lr for lr in expected]), 'only when asked for'


@no_gpu
def test_amp_without_a_gpu(train: Callable[..., Any]) -> None:
    first, second = ([entry['loss'] for entry in train(*amp, '--no-validate')] for amp in ((), ('--amp',)))
    assert first == pytest.approx(second, rel=0.05) and first != second


def test_amp_changes_the_optimizer_wrapper(configured: Callable[..., Config]) -> None:
    wrapper = configured(VIDEO, '--amp').optim_wrapper
    assert (wrapper.type, wrapper.optimizer.lr) == ('AmpOptimWrapper', 2e-3)
    kept = configured(VIDEO, '--amp', '--cfg-options', 'optim_wrapper.loss_scale=512.0').optim_wrapper
    assert kept.loss_scale == 512.0
    assert configured(VIDEO).optim_wrapper.type == 'OptimWrapper'


def test_amp_changes_each_of_several_optimizers(configured: Callable[..., Config], tmp_path: Path) -> None:
    config = tmp_path / 'two.py'
    config.write_text(
        f'_base_ = {str(VIDEO)!r}\n'
        "one = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))\n"
        "optim_wrapper = dict(_delete_=True, constructor='Mine', first=one, second=dict(one, loss_scale=8.0))\n"
    )
    wrapper = configured(config, '--amp').optim_wrapper
    assert set(wrapper) == {'constructor', 'first', 'second'}
    assert wrapper.first.type == 'AmpOptimWrapper'
    assert (wrapper.second.type, wrapper.second.loss_scale) == ('AmpOptimWrapper', 8.0)


@pytest.mark.gpu
def test_amp_on_a_gpu(train: Callable[..., Any]) -> None:
    assert [entry['iter'] for entry in train('--amp', '--no-validate')] == [1, 2]


@pytest.mark.parametrize(('names', 'near'), [('semsg,depth', 'semseg'), ('dept', 'depth'), ('normal', 'normals')])
def test_a_wrong_task_suggests_the_nearest(train: Callable[..., Any], names: str, near: str) -> None:
    with pytest.raises(SystemExit, match=rf"\['semseg', 'depth', 'normals'\].*\['{near}'\]"):
        train('--tasks', names)


def test_tasks_leaves_only_those(train: Callable[..., Any]) -> None:
    entry = train('--tasks', 'depth,normals', '--no-validate')[0]
    assert {'depth.loss_l1', 'normals.loss_l1'} < set(entry)
    assert 'semseg.loss_ce' not in entry


def test_persistent_workers_without_workers(train: Callable[..., Any]) -> None:
    persistent = {f'{split}_dataloader.persistent_workers': True for split in ('train', 'val', 'test')}
    assert len(train(**persistent, **{'train_cfg.val_interval': 2})) == 3


def test_resume_without_a_checkpoint_starts_anew(run_tool: Callable[..., str], tmp_path: Path) -> None:
    printed = run_tool(
        'tools/train.py', VIDEO, '--work-dir', tmp_path, '--resume', '--no-validate', '--cfg-options', *options()
    )
    assert f'{tmp_path}: no checkpoint' in printed


# ---------------------------------------------------------------- test.py


def test_a_baseline_stands_beside_and_says_what_delta_m_is_of(
    run_tool: Callable[..., str], checkpoint: Path, tmp_path: Path
) -> None:
    paths = {name: tmp_path / f'{name}.json' for name in ('semseg', 'depth', 'out')}
    paths['semseg'].write_text(json.dumps({'semseg/mIoU': 12.5}))
    paths['depth'].write_text(json.dumps({'depth/abs_err': 0.25, 'depth/rmse': 0.5}))
    baseline = f'test_evaluator.baseline={paths["semseg"]},{paths["depth"]}'
    arguments = ('--work-dir', tmp_path / 'test', '--out', paths['out'], '--tasks', 'semseg,depth')
    more = (baseline, 'tasks.depth.primary_metric=rmse')

    printed = run_tool('tools/test.py', VIDEO, checkpoint, *arguments, '--cfg-options', *options(), *more)

    metrics = json.loads(paths['out'].read_text())
    gains = (metrics['semseg/mIoU'] - 12.5) / 12.5, (0.5 - metrics['depth/rmse']) / 0.5
    assert metrics['delta_m'] == pytest.approx(50 * sum(gains))
    name = f'{paths["semseg"]} + {paths["depth"]}'
    assert metrics['meta']['delta_m'] == {
        'baseline': name,
        'better': 'higher',
        'unit': 'percent',
        'metrics': {'semseg/mIoU': 'higher', 'depth/rmse': 'lower'},
    }
    head, *others = rows(printed)
    assert head[-1] == f'baseline: {name}'
    beside = {row[0]: row[-1] for row in others}
    assert [beside[key] for key in ('semseg/mIoU', 'depth/rmse', 'depth/delta1')] == ['12.5', '0.5', '']


def test_options_of_panels_and_maps(
    run_tool: Callable[..., str], tested: Callable[..., Config], tmp_path: Path
) -> None:
    panels, maps = tmp_path / 'panels', tmp_path / 'maps'
    bare = ('--cfg-options', 'default_hooks=None')
    for given, interval in (((), 10), (('--show-interval', 3), 3), (bare, 10)):
        hook = tested('--show-dir', panels, *given).default_hooks.visualization
        assert (hook.draw, hook.out_dir, hook.interval) == (True, str(panels), interval)
    for given, npy in (((), False), (('--npy',), True)):
        hook = tested('--out-dir', maps, *given).custom_hooks[-1]
        assert hook == dict(type='MapWriterHook', out_dir=str(maps), npy=npy)
    panels.mkdir()
    (panels / 'mine.png').touch()
    for given, message in (
        (('--show-dir', panels), 'panels: exists and is not an empty folder'),
        (('--show-interval', 3), '--show-interval: nothing to draw'),
    ):
        with pytest.raises(SystemExit, match=message):
            run_tool('tools/test.py', VIDEO, 'weights.pth', '--work-dir', tmp_path, *given)


def test_metrics_are_kept_although_the_output_cannot_be_written(
    test_tool: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            if 'mIoU' in text:
                raise BrokenPipeError
            return len(text)

    monkeypatch.setattr(sys, 'stdout', Full())
    with pytest.raises(BrokenPipeError):
        test_tool()
    assert 'semseg/mIoU' in json.loads((tmp_path / 'metrics.json').read_text())


def test_metrics_are_shown_although_their_file_cannot_be_written(
    test_tool: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device', str(path))

    monkeypatch.setattr('mmmtl.evaluation.metric_files.write_text', refuse)
    with pytest.raises(SystemExit, match='No space left'):
        test_tool()
    assert 'mIoU' in capsys.readouterr().out


def test_offsets_choose_what_is_scored(test_tool: Callable[..., dict[str, float]]) -> None:
    everything = test_tool('--offsets', 'all')
    assert offsets_of(everything) == [f'offset_{o}' for o in range(5)]
    assert test_tool() == everything, 'the config has it'
    two = test_tool('--offsets', '0,4')
    assert offsets_of(two) == ['offset_0', 'offset_4']
    for name in ('semseg/mIoU', 'depth/abs_err', 'normals/mean'):
        values = [everything[f'offset_{o}/{name}'] for o in range(5)]
        assert everything[name] == pytest.approx(sum(values) / 5)
        # The same labelled frames, those with four frames before them.
        # Other batches sum in another order.
        assert [two[f'offset_{o}/{name}'] for o in (0, 4)] == pytest.approx([values[0], values[4]], rel=1e-5)
        assert two[name] == pytest.approx((values[0] + values[4]) / 2, rel=1e-5)


@pytest.mark.parametrize('text', ['x', '0,', '0;4', '1.5', ''])
def test_offsets_that_are_no_numbers(
    test_tool: Callable[..., Any], capsys: pytest.CaptureFixture[str], text: str
) -> None:
    with pytest.raises(SystemExit) as error:
        test_tool('--offsets', text)
    assert error.value.code == 2
    assert re.search(f'--offsets.*{re.escape(repr(text))}', capsys.readouterr().err)


def test_offsets_beyond_the_interval(test_tool: Callable[..., Any]) -> None:
    with pytest.raises(SystemExit, match=r'clip\.offsets.*5.*0\.\.4.*key_frame_interval.*5'):
        test_tool('--offsets', '0,5')


def test_offsets_need_clips(test_tool: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r'tiny_image\.py.*--offsets'):
        test_tool('--offsets', '0', config=IMAGE)
    config = tmp_path / 'clips.py'
    config.write_text(
        f"_base_ = {str(IMAGE)!r}\ntest_dataloader = dict(dataset=dict(clip=dict(_delete_=True, offsets='all')))\n"
    )
    with pytest.raises(SystemExit, match=r'clips\.py.*--offsets needs a video model'):
        test_tool('--offsets', '0', config=config)
    config = tmp_path / 'single.py'
    config.write_text(f'_base_ = {str(VIDEO)!r}\ntest_dataloader = dict(dataset=dict(clip=dict(single=True)))\n')
    with pytest.raises(SystemExit, match=r'single\.py.*--offsets'):
        test_tool('--offsets', '0', config=config)


def test_offsets_reach_every_data_set_of_a_wrapper(test_tool: Callable[..., Any], tmp_path: Path) -> None:
    cfg = Config.fromfile(VIDEO)
    part = cfg.test_dataloader.dataset.to_dict()
    other = dict(type='RepeatDataset', times=2, dataset=dict(part, split='test'))
    cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[part, other])
    config = tmp_path / 'both.py'
    cfg.dump(config)
    assert offsets_of(test_tool(config=config)) == [f'offset_{o}' for o in range(5)]
    assert offsets_of(test_tool('--offsets', '2', config=config)) == ['offset_2']


def test_stream(test_tool: Callable[..., Any], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    metrics = test_tool('--stream', '--out-dir', tmp_path / 'maps')
    videos = json.loads((tmp_path / 'maps' / 'videos.json').read_text())
    assert sum(video['length'] for video in videos.values()) == 15
    with pytest.raises(SystemExit, match='--out-dir'):
        test_tool('--npy')
    assert offsets_of(metrics) == []
    assert (metrics['stream/frames'], metrics['stream/key_frame_ratio']) == (15, pytest.approx(0.2))
    assert {'temporal/semseg/TC', 'temporal/depth/warp_err', 'temporal/normals/warp_err'} < set(metrics)
    model = build_on_meta(Config.fromfile(VIDEO))
    macs = count_cost(model, (32, 64)).total().macs
    assert metrics['stream/GMAC'] == pytest.approx((macs['key'] + 4 * macs['non_key']) / 5e9)
    with pytest.raises(SystemExit):
        test_tool('--stream', '--offsets', 'all')
    assert re.search('--offsets.*--stream', capsys.readouterr().err)


def test_stream_keeps_the_metrics_of_the_config(tested: Callable[..., Config], tmp_path: Path) -> None:
    scores, own = dict(type='MultiTaskMetric'), dict(type='TemporalConsistency', tasks=['depth'])
    config = tmp_path / 'own.py'
    for evaluator, expected in (
        (scores, [scores, dict(type='TemporalConsistency')]),
        ([scores], [scores, dict(type='TemporalConsistency')]),
        ([scores, own], [scores, own]),
    ):
        config.write_text(f'_base_ = {str(VIDEO)!r}\ntest_evaluator = {evaluator}\n')
        found = tested('--stream', config=config)
        assert found.test_cfg.type == 'StreamTestLoop' and found.test_evaluator == expected


def test_stream_with_a_policy_and_a_config_of_its_own(
    run_tool: Callable[..., str], checkpoint: Path, tmp_path: Path
) -> None:
    """The loop in the config gives the same as --stream, also for a policy without an interval."""
    policy = 'model = dict(key_frame_policy=dict(_delete_=True, type="FrameChange", threshold=100.0))'
    by_config = tmp_path / 'stream.py'
    by_config.write_text(f'_base_ = {str(VIDEO)!r}\ntest_cfg = dict(type="StreamTestLoop")\n{policy}\n')
    plain = tmp_path / 'plain.py'
    plain.write_text(f'_base_ = {str(VIDEO)!r}\n{policy}\n')
    found = []
    for number, (config, arguments) in enumerate(((by_config, []), (plain, ['--stream']))):
        out = tmp_path / f'{number}.json'
        common = ('--work-dir', tmp_path / 'test', '--out', out, '--cfg-options', *options())
        printed = run_tool('tools/test.py', config, checkpoint, *arguments, *common)
        assert '15 frames, 6.7 % of them key frames; ' in printed
        found.append({k: v for k, v in json.loads(out.read_text()).items() if k != 'meta'})
    assert found[0] == {k: v for k, v in found[1].items() if not k.startswith('temporal/')}


def test_a_report_of_a_test(test_tool: Callable[..., dict[str, float]], tmp_path: Path) -> None:
    metrics = test_tool('--report')
    content = json.loads((tmp_path / 'test' / 'metrics.json').read_text())
    assert content['semseg/mIoU'] == metrics['semseg/mIoU']
    model = build_on_meta(Config.fromfile(VIDEO))
    total = count_cost(model, (32, 64)).total()
    assert content['meta']['GMAC'] == pytest.approx((total.macs['key'] + 4 * total.macs['non_key']) / 5e9)
    assert content['meta']['parameters in millions'] == total.params / 1e6
    assert content['meta']['primary']['semseg/mIoU'] == 'higher'
    assert content['meta']['better']['depth/rmse'] == 'lower'
    assert {*content['meta']['primary'], *content['meta']['better']} <= set(content), 'of what was measured'
    assert content['confusion']['semseg'].keys() == content['class_iou']['semseg'].keys()
    folder = SampleFolder(tmp_path / 'test' / 'samples')
    samples = folder.read()
    assert {(sample.task, sample.kind) for sample in samples} >= {('depth', 'best'), ('semseg', 'worst')}
    assert all(folder.picture(sample) for sample in samples)
    errors = {sample.kind: sample.score for sample in reversed(samples) if sample.task == 'depth'}
    assert errors['best'] <= errors['worst']
    assert (tmp_path / 'test' / 'report.html').read_text().count('data:image/jpeg') == len(samples)
