"""Checkpoints: nothing in them runs, and none is left half written."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.fileio import get_file_backend
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint

from mmmtl.apis import MultiTaskInferencer
from mmmtl.config import resolve
from mmmtl.engine import build_runner, find_checkpoint
from mmmtl.engine.checkpoint_files import make_plain
from mmmtl.io.checkpoints import load_from_local
from mmmtl.io.outputs import remove_partial_files
from mmmtl.registry import MODELS

from .conftest import MakeConfig, last


class Trap:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable, tuple]:
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Path]:
    """A checkpoint with a trap in it, which must not go off during the test."""
    canary = tmp_path / 'canary'
    path = tmp_path / 'foreign.pth'
    contents = {'state_dict': {'weight': torch.zeros(1)}, 'meta': {'author': Trap(canary)}, 'message_hub': {}}
    torch.save(contents, path)
    yield path
    assert not canary.exists(), 'the trap went off'
    torch.load(path, weights_only=False)
    assert canary.exists(), 'the trap would not have gone off for anybody'


def test_a_foreign_checkpoint_is_refused_by_our_loader(trap: Path) -> None:
    with pytest.raises(ValueError, match=r'foreign\.pth: refused.*mkdir.*torch\.save'):
        load_from_local(trap)


@pytest.mark.parametrize('save', ['pickle', 'legacy'])
def test_a_foreign_checkpoint_is_refused_in_every_format(trap: Path, tmp_path: Path, save: str) -> None:
    path = tmp_path / f'{save}.pth'
    contents = {'state_dict': Trap(tmp_path / 'canary')}
    if save == 'pickle':
        path.write_bytes(pickle.dumps(contents))
    else:
        torch.save(contents, path, _use_new_zipfile_serialization=False)

    with pytest.raises(ValueError, match=rf'{save}\.pth: '):
        load_from_local(path)


@pytest.mark.parametrize('what', ['foreign', 'nan'])
def test_no_way_of_loading_takes_it(trap: Path, make_config: MakeConfig, tmp_path: Path, what: str) -> None:
    words = dict(foreign=r'foreign\.pth: refused', nan=r'nan\.pth: 1 weights are not finite \(neck\.weight\)')[what]
    path = str(tmp_path / f'{what}.pth')
    if what == 'nan':
        torch.save({'state_dict': {'neck.weight': torch.tensor(float('nan'))}}, path)
    cfg = resolve(make_config(**{'model.backbone.backbone.init_cfg': dict(type='Pretrained', checkpoint=path)}))
    init_default_scope('mmmtl')
    for load in (
        lambda: build_runner(make_config(load_from=path)).test(),
        lambda: build_runner(make_config(load_from=path)).train(),
        lambda: build_runner(make_config(load_from=path, resume=True)).train(),
        lambda: MultiTaskInferencer(make_config(), path),
        lambda: MODELS.build(cfg.model).init_weights(),
        lambda: CheckpointLoader.load_checkpoint(path),
    ):
        with pytest.raises(ValueError, match=words):
            load()


def test_the_config_in_a_checkpoint_is_not_run(trained: Runner, make_config: MakeConfig, tmp_path: Path) -> None:
    # mmengine executes meta['config'] of a checkpoint when it resumes; a string passes `weights_only=True`.
    checkpoint = torch.load(last(trained), weights_only=True)
    checkpoint['meta']['config'] = f'import os\nos.mkdir({str(tmp_path / "canary")!r})\n'
    torch.save(checkpoint, tmp_path / 'iter_4.pth')

    build_runner(make_config(load_from=str(tmp_path / 'iter_4.pth'), resume=True, **{'train_cfg.max_iters': 4})).train()

    assert not (tmp_path / 'canary').exists()


def test_a_checkpoint_cannot_have_a_folder_deleted(trained: Runner, make_config: MakeConfig, tmp_path: Path) -> None:
    # mmengine deletes the best checkpoint, named in the message hub, when a better one comes.
    checkpoint = torch.load(last(trained), weights_only=True)
    (tmp_path / 'precious').mkdir()
    checkpoint['message_hub']['runtime_info'] |= {'best_ckpt': str(tmp_path / 'precious'), 'best_score': 1e9}
    torch.save(checkpoint, tmp_path / 'iter_4.pth')
    options = {
        'train_cfg.max_iters': 5,
        'train_cfg.val_interval': 1,
        'default_hooks.checkpoint.save_best': 'normals/mean',
    }
    runner = build_runner(make_config(load_from=str(tmp_path / 'iter_4.pth'), resume=True, **options))

    with pytest.raises(ValueError, match=r"iter_4\.pth: .*runtime_info\.best_ckpt must.*precious'"):
        runner.train()
    assert (tmp_path / 'precious').exists()


@pytest.mark.parametrize('name', ['iter_4', 'best_normals_mean_iter_*'])
def test_our_checkpoints_load_with_torch_alone(trained: Runner, name: str) -> None:
    allowed = torch.serialization.get_safe_globals()  # parts of torch add some of theirs
    torch.serialization.clear_safe_globals()
    try:
        (path,) = Path(trained.work_dir).glob(f'{name}.pth')
        checkpoint = torch.load(path, weights_only=True)
    finally:
        torch.serialization.add_safe_globals(allowed)

    iteration = int(path.stem.rpartition('_')[2])
    assert checkpoint['meta']['iter'] == iteration
    assert list(checkpoint['meta']['dataset_meta']['tasks']) == ['semseg', 'depth', 'normals']
    assert checkpoint['state_dict'].keys() == trained.model.state_dict().keys()
    assert len(checkpoint['message_hub']['log_scalars']['train/loss'][0]) == iteration
    if name == 'iter_4':
        assert checkpoint['optimizer']['state'] and checkpoint['param_schedulers'][0]['last_step'] == 4
        assert isinstance(checkpoint['message_hub']['runtime_info']['best_score'], float)


def test_resuming_restores_what_was_logged(trained: Runner, make_config: MakeConfig) -> None:
    runner = build_runner(make_config(load_from=str(last(trained)), resume=True, **{'train_cfg.max_iters': 4}))
    runner.train()

    assert runner.iter == 4
    for name, buffer in trained.message_hub.log_scalars.items():
        if name.startswith('train/') and 'time' not in name:
            history, counts = runner.message_hub.get_scalar(name).data
            assert len(history) == 4
            np.testing.assert_array_equal(history, buffer.data[0])
            np.testing.assert_array_equal(counts, buffer.data[1])
    assert runner.message_hub.get_info('best_score') == trained.message_hub.get_info('best_score')
    assert runner.optim_wrapper.get_lr() == trained.optim_wrapper.get_lr()
    assert all(
        torch.equal(a, b)
        for a, b in zip(runner.model.state_dict().values(), trained.model.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize('keep', [0.0, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_told_from_a_foreign_one(trained: Runner, tmp_path: Path, keep: float) -> None:
    whole = last(trained).read_bytes()
    path = tmp_path / 'cut.pth'
    path.write_bytes(whole[: int(keep * len(whole))])

    with pytest.raises(ValueError, match=r'cut\.pth: not a .*truncated'):
        load_from_local(path)


@pytest.mark.parametrize('contents', [b'<html>Not Found</html>', b'\x80\x04.', bytes(range(256))])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / 'page.pth').write_bytes(contents)

    with pytest.raises(ValueError, match=r'page\.pth: not a '):
        load_from_local(tmp_path / 'page.pth')


def test_a_checkpoint_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r'nowhere/iter_1\.pth: no such checkpoint'):
        load_from_local('nowhere/iter_1.pth')


def test_a_tensor_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save(torch.zeros(1), tmp_path / 'tensor.pth')

    with pytest.raises(ValueError, match='holds a Tensor, not a dict'):
        load_from_local(tmp_path / 'tensor.pth')


# Writing


def test_a_crash_before_the_file_is_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'iter_2.pth'
    backend = get_file_backend(str(path), backend_args=dict(backend='atomic_local'))
    backend.put(b'old and whole', path)

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, 'replace', crash)
        patch.setattr(Path, 'unlink', lambda *_, **__: None)  # a killed process does not clean up
        with pytest.raises(KeyboardInterrupt):
            backend.put(b'new', path)

    assert path.read_bytes() == b'old and whole'
    assert find_checkpoint(tmp_path) == path, 'what the crash left is no checkpoint'
    backend.put(b'new', path)
    assert path.read_bytes() == b'new'
    assert len(os.listdir(tmp_path)) == 2, 'the crash left something'
    (tmp_path / '.own.tmp').touch()
    remove_partial_files(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ['.own.tmp', 'iter_2.pth']


def test_the_backend_writes_text_too(tmp_path: Path) -> None:
    backend = get_file_backend(str(tmp_path), backend_args=dict(backend='atomic_local'))
    backend.put_text('Straße', tmp_path / 'new' / 'notes.txt')

    assert (tmp_path / 'new' / 'notes.txt').read_text(encoding='utf-8') == 'Straße'


def test_weights_that_are_not_finite_are_not_saved(trained: Runner, make_config: MakeConfig, tmp_path: Path) -> None:
    runner = build_runner(make_config(load_from=str(last(trained)), resume=True, **{'train_cfg.max_iters': 4}))
    runner.train()
    with torch.no_grad():
        runner.model.backbone.backbone.conv1.weight[0] = float('nan')

    with pytest.raises(FloatingPointError, match=r'1 weights.*backbone\.conv1\.weight'):
        runner.save_checkpoint(str(tmp_path), 'iter_5.pth', by_epoch=False)

    assert not (tmp_path / 'iter_5.pth').exists()


def test_what_is_saved_is_made_plain() -> None:
    tensor = torch.ones(2)
    value = {'a': np.float64(0.5), 'b': [np.int64(3), (np.arange(2), 'x')], 'c': OrderedDict({np.int32(1): tensor})}

    plain = make_plain(value, 'meta')

    assert plain == {'a': 0.5, 'b': [3, ([0, 1], 'x')], 'c': {1: tensor}}
    assert [type(plain['a']), type(plain['b'][0]), type(plain['c'])] == [float, int, dict]
    with pytest.raises(ValueError, match=r'meta\.dataset_meta\.root of the checkpoint is a PosixPath'):
        make_plain({'dataset_meta': {'root': Path('/')}}, 'meta')
    with pytest.raises(ValueError, match=r'meta\.signal of the checkpoint is a Signals'):
        make_plain({'signal': signal.SIGKILL}, 'meta')  # a subclass of int


# Finding


@pytest.mark.parametrize(
    ('record', 'found'),
    [
        (None, 'iter_100.pth'),
        ('', 'iter_100.pth'),
        ('\n', 'iter_100.pth'),
        ('/moved/away/iter_20.pth', 'iter_20.pth'),
        ('/moved/away/iter_30.pth', 'iter_100.pth'),
        ('iter_2', 'iter_100.pth'),
    ],
)
def test_the_newest_checkpoint_is_found(tmp_path: Path, record: str | None, found: str) -> None:
    partial = '.0123456789ab.partial.pth'
    for name in ('iter_100.pth', 'iter_20.pth', 'best_depth_rmse_iter_900.pth', partial, 'weights.pth'):
        (tmp_path / name).touch()
    if record is not None:
        (tmp_path / 'last_checkpoint').write_text(record)

    assert find_checkpoint(tmp_path) == tmp_path / found


def test_a_checkpoint_outside_the_work_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / 'out').mkdir()
    (tmp_path / 'work').mkdir()
    (tmp_path / 'out' / 'epoch_3.pth').touch()
    (tmp_path / 'work' / 'last_checkpoint').write_text(str(tmp_path / 'out' / 'epoch_3.pth'))

    assert find_checkpoint(tmp_path / 'work') == tmp_path / 'out' / 'epoch_3.pth'

    (tmp_path / 'work' / 'epoch_3.pth').touch()  # of an earlier run, which wrote here

    assert find_checkpoint(tmp_path / 'work') == tmp_path / 'out' / 'epoch_3.pth'


def test_a_copied_work_directory_has_its_own_checkpoint(tmp_path: Path) -> None:
    for name in ('work', 'copy'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'epoch_3.pth').touch()
        (tmp_path / name / 'last_checkpoint').write_text(str(tmp_path / 'work' / 'epoch_3.pth'))

    assert find_checkpoint(tmp_path / 'copy') == tmp_path / 'copy' / 'epoch_3.pth'


@pytest.mark.parametrize('name', ['empty', 'absent'])
def test_there_may_be_no_checkpoint(tmp_path: Path, name: str) -> None:
    (tmp_path / 'empty').mkdir()

    assert find_checkpoint(tmp_path / name) is None


def test_a_moved_work_directory_can_be_resumed(trained: Runner, make_config: MakeConfig, tmp_path: Path) -> None:
    shutil.copytree(trained.work_dir, tmp_path / 'run')

    runner = build_runner(make_config(resume=True, **{'train_cfg.max_iters': 4}))
    runner.train()

    assert runner._load_from == str(tmp_path / 'run' / 'iter_4.pth')
    assert runner.iter == 4


def test_mmengines_own_function_reads_our_checkpoints(trained: Runner, make_config: MakeConfig) -> None:
    cfg = resolve(make_config())
    init_default_scope('mmmtl')
    model = MODELS.build(cfg.model)

    load_checkpoint(model, str(last(trained)), strict=True)

    name = 'neck.embed.depth.weight'
    assert torch.equal(model.state_dict()[name], trained.model.state_dict()[name])
