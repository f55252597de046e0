"""The hook that saves checkpoints, killed at every operation on a file."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.fileio import get_file_backend
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import HOOKS, DefaultScope

from mmmtl.engine import CheckpointHook, find_checkpoint
from mmmtl.io.outputs import remove_partial_files

SCORES = {1: 0.3, 2: 0.5, 3: 0.4}
EVENTS = ('open', 'os.rename', 'os.remove', 'os.mkdir')


class FakeRunner:
    """What the hook needs of a runner: it saves its iteration and its message hub."""

    def __init__(self, folder: Path, resumed: Path | None = None) -> None:
        self.work_dir = str(folder)
        self.message_hub = MessageHub('fake')
        self.logger = MMLogger('fake', log_level='ERROR')
        self.iter = self.epoch = 0
        self.train_loop = SimpleNamespace(stop_training=False)
        self.validated = True
        self.bad_from = 100
        self._resume, self._load_from = resumed is not None, str(resumed)
        if resumed is not None:
            checkpoint = torch.load(resumed, weights_only=True)
            self.iter, self.validated = checkpoint['meta']['iter'], checkpoint['meta'].get('validated', False)
            self.message_hub.runtime_info.update(checkpoint['message_hub'])

    def call_hook(self, name: str) -> None:
        assert name == 'before_checkpoint'

    def save_checkpoint(
        self, out_dir: str, filename: str, *, meta: dict[str, Any], backend_args: dict[str, Any], **_: Any
    ) -> None:
        if self.iter >= self.bad_from:
            raise FloatingPointError('weights')
        buffer = io.BytesIO()
        torch.save({'meta': meta, 'message_hub': dict(self.message_hub.runtime_info)}, buffer)
        backend = get_file_backend(out_dir, backend_args=backend_args)
        backend.put(buffer.getvalue(), backend.join_path(out_dir, filename))

    def every_n_train_iters(self, *_: Any) -> bool:
        return True


class Hook(CheckpointHook):
    def every_n_train_iters(self, *_: Any) -> bool:
        return True


def run(folder: Path, keep: int, bad_from: int = 100) -> None:
    """Train three iterations, with a checkpoint and a validation after each, from the newest checkpoint on."""
    hook = Hook(
        interval=1, by_epoch=False, max_keep_ckpts=keep, save_best='score', rule='greater', published_keys='meta'
    )
    runner = FakeRunner(folder, find_checkpoint(folder))
    runner.bad_from = bad_from
    remove_partial_files(folder)
    hook.before_train(runner)
    if not runner.validated:
        hook.after_val_epoch(runner, {'score': SCORES[runner.iter]})
    while runner.iter < len(SCORES):
        hook.after_train_iter(runner, 0)
        runner.iter += 1
        hook.after_val_epoch(runner, {'score': SCORES[runner.iter]})
    hook.after_train(runner)


def run_killed(folder: Path, keep: int, at: int) -> int:
    """Run in a child that dies before its file operation number `at`; return its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seen = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in EVENTS and any(str(folder) in str(argument) for argument in arguments[:2]):
            seen += 1
            if seen == at:
                os._exit(9)

    try:
        sys.addaudithook(count)
        run(folder, keep)
        os._exit(0)
    finally:
        os._exit(1)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def published(folder: Path) -> Iterator[str]:
    return (name for name in names(folder) if '-' in name)


@pytest.mark.parametrize(
    ('keep', 'step'), [(1, 3), *(pytest.param(keep, 1, marks=pytest.mark.faults) for keep in (1, 2, -1))]
)
def test_no_kill_loses_the_newest_or_the_best_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int, step: int
) -> None:
    monkeypatch.setattr(os, 'fsync', lambda _: None)  # slow, and no kill needs it
    whole = tmp_path / 'whole'
    whole.mkdir()
    run(whole, keep)
    expected = {'last_checkpoint', 'best_score_iter_2.pth', 'iter_3.pth'}
    assert expected <= set(names(whole)) and len(list(whole.glob('iter_?.pth'))) == (keep if keep > 0 else 3)
    assert len(list(published(whole))) == 2

    newest = 0
    for at in range(1, 200, step):
        folder = tmp_path / f'killed_{at}'
        folder.mkdir()
        status = run_killed(folder, keep, at)
        if status == 0:
            break
        assert status == 9
        found = find_checkpoint(folder)
        number = 0
        if found is not None:
            checkpoint = torch.load(found, weights_only=True)
            number = checkpoint['meta']['iter']
            if best := checkpoint['message_hub'].get('best_ckpt'):
                assert torch.load(best, weights_only=True)['message_hub']['best_score'] == max(
                    SCORES[i] for i in range(1, number + 1 if checkpoint['meta'].get('validated') else number)
                )
        assert number >= newest, 'a later kill never leaves less'
        newest = number

        run(folder, keep)
        assert [name for name in names(folder) if '-' not in name] == [name for name in names(whole) if '-' not in name]
        assert torch.load(folder / 'iter_3.pth', weights_only=True)['message_hub']['best_score'] == 0.5
    assert at > 30 and newest == 3


def test_what_is_published_has_the_wanted_keys_and_its_hash(tmp_path: Path) -> None:
    run(tmp_path, keep=1)

    found = [tmp_path / name for name in published(tmp_path)]
    assert [path.name.rpartition('-')[0] for path in found] == ['best_score_iter_2', 'iter_3']
    for path in found:
        assert torch.load(path, weights_only=True).keys() == {'meta'}
        assert path.stem.endswith(hashlib.sha256(path.read_bytes()).hexdigest()[:8])


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b'no\xff UTF-8')
    folder.mkdir()
    run(folder, keep=1)
    assert (folder / 'last_checkpoint').read_bytes() == os.fsencode(folder / 'iter_3.pth')
    assert find_checkpoint(folder) == folder / 'iter_3.pth'
    run(folder, keep=1)


def test_weights_that_cannot_be_saved_remove_nothing(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match='weights'):
        run(tmp_path, keep=1, bad_from=2)  # at the validation after the second iteration

    assert names(tmp_path) == ['best_score_iter_1.pth', 'iter_2.pth', 'last_checkpoint']
    with pytest.raises(FloatingPointError, match='weights'):
        run(tmp_path, keep=1, bad_from=2)
    assert names(tmp_path) == ['best_score_iter_1.pth', 'iter_2.pth', 'last_checkpoint']


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    # A run of one folder is continued in another, which has checkpoints of the same names.
    first, second = tmp_path / 'first', tmp_path / 'second'
    first.mkdir()
    run(first, keep=2)
    before = names(first)
    second.mkdir()
    for number in (1, 2):
        (second / f'iter_{number}.pth').write_text('of somebody else')

    runner = FakeRunner(second, first / 'iter_2.pth')
    hook = Hook(interval=1, by_epoch=False, max_keep_ckpts=1, save_best='score', rule='greater')
    hook.before_train(runner)
    hook.after_train_iter(runner, 0)
    runner.iter += 1
    hook.after_val_epoch(runner, {'score': 0.9})

    assert names(first) == before
    assert names(second) == ['best_score_iter_3.pth', 'iter_1.pth', 'iter_2.pth', 'iter_3.pth', 'last_checkpoint']


def test_the_name_in_configs_means_this_hook() -> None:
    with DefaultScope.overwrite_default_scope('mmmtl'):
        hook = HOOKS.build(dict(type='CheckpointHook', interval=3))
    assert type(hook) is CheckpointHook


@pytest.mark.parametrize('argument', [{'intervall': 3}, {'file_client_args': {'backend': 'disk'}}])
def test_what_it_does_not_take_is_refused(tmp_path: Path, argument: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(argument))):
        CheckpointHook(**argument).before_train(FakeRunner(tmp_path))


@pytest.mark.parametrize('metric', ['score', 'other'])
def test_another_folder_has_a_best_checkpoint_of_its_own(tmp_path: Path, metric: str) -> None:
    first, second = tmp_path / 'first', tmp_path / 'second'
    for folder in (first, second):
        folder.mkdir()
    run(first, keep=-1)
    hook = Hook(interval=1, by_epoch=False, save_best=metric, rule='greater')
    runner = FakeRunner(second, first / 'iter_3.pth')
    hook.before_train(runner)
    hook.after_val_epoch(runner, {metric: -5.0})  # worse than the best score in the first folder
    assert names(second) == [f'best_{metric}_iter_3.pth']


def test_the_best_of_another_metric_is_none_of_this_one(tmp_path: Path) -> None:
    run(tmp_path, keep=-1)
    before = names(tmp_path)
    for metric, score in (('other', 0.1), ('score', 0.2)):
        hook = Hook(interval=1, by_epoch=False, save_best=metric, rule='greater')
        runner = FakeRunner(tmp_path, tmp_path / 'iter_3.pth')
        hook.before_train(runner)
        hook.after_val_epoch(runner, {metric: score})
    assert sorted({*names(tmp_path)} - {*before}) == ['best_other_iter_3.pth', 'best_score_iter_3.pth']
    assert {*before} <= {*names(tmp_path)}
