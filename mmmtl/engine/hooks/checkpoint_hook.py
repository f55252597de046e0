"""The hook that saves checkpoints, and removes an old one only once its replacement is complete."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process, master_only
from mmengine.fileio import get_file_backend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.runner import CheckpointLoader, Runner

from mmmtl.engine.checkpoint_files import RECORD, AtomicLocalBackend
from mmmtl.engine.folder_lock import FolderLock
from mmmtl.io.outputs import remove_partial_files
from mmmtl.registry import HOOKS

ATOMIC = dict(backend='atomic_local')


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """A hook like mmengine's of this name, with the same arguments, that never leaves a run without a checkpoint.

    `type='CheckpointHook'` means this hook in every config of scope `mmmtl`. mmengine's removes the old file first and
    writes the new one into place. Here every file is written aside and moved into place, then `last_checkpoint` names
    it, and only then the files that it replaces are removed. A checkpoint also says which of these may still be there,
    so a run that was killed in between removes them when it is resumed. Nothing outside `out_dir` is ever removed.

    Hooks may have a method `before_checkpoint(runner)`; all processes call it before the main one saves.
    """

    out_dir: Any
    backend_args: dict[str, Any] | None

    def before_train(self, runner: Runner) -> None:
        """Prepare the folder, and finish what an interrupted run could not.

        Raises:
            ValueError: unknown arguments, the deprecated `file_client_args`, or another run writes to `out_dir`.
        """
        if self.args or self.file_client_args is not None:
            unknown = sorted(self.args) or ['file_client_args']
            raise ValueError(
                f'default_hooks.checkpoint does not take {unknown}; for storage elsewhere, use backend_args'
            )
        if self.out_dir is None:
            self.out_dir = runner.work_dir
        elif self.out_dir != runner.work_dir:
            self.out_dir = f'{str(self.out_dir).rstrip("/")}/{Path(runner.work_dir).name}'
        local = '://' not in self.out_dir
        if local and (self.backend_args or {}).get('backend', 'local') == 'local':
            self.backend_args = dict(ATOMIC)
        self.file_backend = get_file_backend(self.out_dir, backend_args=self.backend_args)
        runner.logger.info(f'Checkpoints will be saved to {self.out_dir}')
        self._out_lock: FolderLock | None = None
        if local and self.out_dir != runner.work_dir and is_main_process():
            self._out_lock = FolderLock(self.out_dir)
            if self._out_lock.held:
                remove_partial_files(Path(self.out_dir))
        self._best: dict[str, str] = {}
        self._replaced: list[str] = []
        self.keep_ckpt_ids: list[int] = []
        if runner._resume and Path(runner._load_from).resolve().parent == Path(self.out_dir).resolve():
            self.last_ckpt = self._path(Path(runner._load_from).name)
            info = runner.message_hub.runtime_info
            self.keep_ckpt_ids = list(info.get('keep_ckpt_ids', []))
            self._replaced = list(info.get('replaced_ckpts', []))
        if runner._resume and self.save_best:
            self._find_best(runner)
        self._remove_replaced(runner)

    def _find_best(self, runner: Runner) -> None:
        """Go on from the best checkpoints in `out_dir`; other metrics, and scores without a file here, do not count."""
        info = runner.message_hub.runtime_info
        for key in self.key_indicators:
            name = Path(info.get(self._info_key('ckpt', key), '')).name
            # mmengine has the same name for the score of any single metric.
            if name.startswith(self._best_prefix(key)) and self.file_backend.isfile(self._path(name)):
                self._best[key] = name
            else:
                info.pop(self._info_key('ckpt', key), None)
                info.pop(self._info_key('score', key), None)

    def after_train(self, runner: Runner) -> None:
        """Save where another hook has ended the training, publish, and let other runs use the folder."""
        step = runner.epoch if self.by_epoch else runner.iter
        stopped = getattr(runner.train_loop, 'stop_training', False)
        if self.save_last and stopped and Path(self.last_ckpt or '').name != self.filename_tmpl.format(step):
            runner.logger.info(f'Saving the checkpoint {step}, at which the training was stopped')
            # Loops stop only after the validation that was due.
            self._save_checkpoint_with_step(runner, step, dict(epoch=runner.epoch, iter=runner.iter, validated=True))
        if self.published_keys is not None:
            last = [Path(self.last_ckpt).name] if self.save_last and self.last_ckpt is not None else []
            for name in (*last, *self._best.values()):
                self._publish_model(runner, self._path(name))
        if self._out_lock is not None:
            self._out_lock.release()

    def _path(self, name: str) -> str:
        path: str = self.file_backend.join_path(self.out_dir, name)
        return path

    @staticmethod
    def _best_prefix(key: str) -> str:
        """Return what the names of the best checkpoints of a metric begin with."""
        return f'best_{key}_'.replace('/', '_')

    def _info_key(self, what: str, key: str) -> str:
        """Return mmengine's name of the best checkpoint ('ckpt') or score ('score') of a metric."""
        return f'best_{what}' if len(self.key_indicators) == 1 else f'best_{what}_{key}'

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        """Write a checkpoint, name it in `last_checkpoint`, and then remove the files that it replaces."""
        if self.keep_ckpt_ids[-1:] != [step]:
            self.keep_ckpt_ids = [number for number in self.keep_ckpt_ids if number != step] + [step]
        if self.max_keep_ckpts > 0:
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        runner.message_hub.update_info('replaced_ckpts', list(self._replaced))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self._path(name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.call_hook('before_checkpoint')
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
        )
        if is_main_process():
            AtomicLocalBackend().put(os.fsencode(self.last_ckpt), Path(runner.work_dir) / RECORD)
        self._remove_replaced(runner)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Write the best checkpoint of every metric that improved, then a checkpoint of this step, which names them."""
        if not self.save_best:
            return
        step = runner.epoch if self.by_epoch else runner.iter
        # The validation of this step is part of what is saved now.
        meta = dict(epoch=runner.epoch, iter=runner.iter, validated=True)
        improved = False
        for key, rule in zip(self.key_indicators, self.rules, strict=True):
            score, score_key = metrics[key], self._info_key('score', key)
            best = runner.message_hub.runtime_info.get(score_key, self.init_value_map[rule])
            if score is None or not self.is_better_than[key](score, best):
                continue
            improved = True
            name = f'{self._best_prefix(key)}{self.filename_tmpl.format(step)}'
            previous = self._best.get(key)
            runner.message_hub.update_info(score_key, score)
            runner.message_hub.update_info(self._info_key('ckpt', key), self._path(name))
            runner.save_checkpoint(
                self.out_dir,
                name,
                save_optimizer=False,
                save_param_scheduler=False,
                meta=dict(meta),
                by_epoch=False,
                backend_args=self.backend_args,
            )
            self._best[key] = name
            if previous is not None and previous != name:
                self._replaced.append(previous)
            runner.logger.info(f'The best checkpoint with {score:0.4f} {key} is saved to {name}')
        if improved and self.last_ckpt is not None:
            self._save_checkpoint_with_step(runner, step, meta)
        self._remove_replaced(runner)

    def _remove_replaced(self, runner: Runner) -> None:
        """Remove the files that newer ones replace."""
        outdated, self._replaced = self._replaced, []
        while 0 < self.max_keep_ckpts < len(self.keep_ckpt_ids):
            outdated.append(self.filename_tmpl.format(self.keep_ckpt_ids.pop(0)))
        needed = {*self._best.values(), Path(self.last_ckpt or '').name}
        for name in outdated:
            if is_main_process() and name not in needed and self.file_backend.isfile(self._path(name)):
                self.file_backend.remove(self._path(name))
                runner.logger.info(f'{self._path(name)} is replaced by a newer one and removed')

    @master_only
    def _publish_model(self, runner: Runner, ckpt_path: str) -> None:
        """Write the `published_keys` of a checkpoint to a file with the hash of its contents in its name."""
        checkpoint = CheckpointLoader.load_checkpoint(ckpt_path, map_location='cpu')
        buffer = io.BytesIO()
        torch.save({key: value for key, value in checkpoint.items() if key in self.published_keys}, buffer)
        contents = buffer.getvalue()
        path = f'{ckpt_path.removesuffix(".pth")}-{hashlib.sha256(contents).hexdigest()[:8]}.pth'
        self.file_backend.put(contents, path)
        runner.logger.info(f'The checkpoint {ckpt_path} is published as {path}')
