"""Construction of the runner from a config, the same for every tool."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.registry import RUNNERS
from mmengine.runner import CheckpointLoader, Runner

from mmmtl.config import LOADERS, resolve
from mmmtl.config.components import check_components, check_evaluation, check_sampler

from .checked_runner import CheckedRunner
from .checkpoint_files import find_checkpoint
from .hooks import (
    AccumulationHook,
    CheckpointGuardHook,
    CheckpointHook,
    EpochPositionHook,
    IterationSeedHook,
    LabelCheckHook,
    ModelHook,
    PlainCheckpointHook,
    ResumeHook,
    SameBuffersHook,
    SummaryHook,
)

HOOKS_OF_EVERY_RUN = (
    CheckpointGuardHook,
    EpochPositionHook,
    IterationSeedHook,
    LabelCheckHook,
    ModelHook,
    AccumulationHook,
    ResumeHook,
    PlainCheckpointHook,
    SameBuffersHook,
    SummaryHook,
)


def build_runner(cfg: Config) -> Runner:
    """Resolve a config and build its runner.

    `HOOKS_OF_EVERY_RUN` are added, whatever the config says. With `resume='auto'`, or True without `load_from`,
    training continues from the newest checkpoint in `work_dir`, if there is one.

    Raises:
        ValueError: `resolve` refuses the config, it names an unknown component, a training sampler does not number its
            draws, an evaluation leaves out samples or repeats some, or the checkpoint hook is mmengine's own, which
            `CheckpointHook` explains.
    """
    cfg = resolve(cfg)
    cfg.setdefault('default_scope', 'mmmtl')
    check_components(cfg)
    check_sampler(cfg)
    check_evaluation(cfg)
    for loader in LOADERS:
        if cfg.get(loader) and not cfg[loader].get('num_workers'):
            cfg[loader].pop('persistent_workers', None)  # torch refuses it without workers
    if resumes_newest(cfg):
        if newest := find_checkpoint(cfg.work_dir):
            cfg.load_from = str(newest)
        else:
            start = f'the weights in {cfg.load_from}' if cfg.get('load_from') else 'scratch'
            print(f'{cfg.work_dir}: no checkpoint to resume from; starting from {start}')
        cfg.resume = newest is not None
    if cfg.get('resume') and (cfg.get('randomness') or {}).get('seed') is None:
        # A seed that was drawn is only in the checkpoint; the samplers are built before mmengine reads it.
        checkpoint = CheckpointLoader.load_checkpoint(cfg.load_from, map_location='cpu', logger='silent')
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': (checkpoint.get('meta') or {}).get('seed')}
    runner = CheckedRunner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    for hook in HOOKS_OF_EVERY_RUN:
        if not any(isinstance(other, hook) for other in runner.hooks):
            runner.register_hook(hook())
    for hook in runner.hooks:
        if isinstance(hook, MMEngineCheckpointHook) and not isinstance(hook, CheckpointHook):
            raise ValueError(
                f"{type(hook).__name__} is mmengine's, which removes a checkpoint before its replacement is written; "
                "use type='CheckpointHook' with default_scope='mmmtl', or derive your hook from "
                'mmmtl.engine.CheckpointHook'
            )
    return runner


def resumes_newest(cfg: Config) -> bool:
    """Return whether a run should resume from the newest checkpoint in its work directory."""
    return cfg.get('resume') == 'auto' or bool(cfg.get('resume') and not cfg.get('load_from'))
