"""Names of mmengine, mmcv and torch that may change with their versions, each with the file of mmmtl that uses it."""

from __future__ import annotations

import ast
import inspect
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mmengine.registry
import mmengine.runner.checkpoint
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

import mmmtl.io.checkpoints
from mmmtl._safe_loading import REPLACED
from mmmtl.ops.local_attention import cpu_backend

PACKAGE = Path(__file__).resolve().parents[2] / 'mmmtl'

NOT_THEIRS = {'_asdict', '_replace', '_gt', '_pred'}
"""A public method of named tuples, and fields that mmmtl sets by name."""


def arguments(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def calls_fit(name: str) -> bool:
    """Return whether the loader calls this function, always with arguments that mmmtl's replacement takes."""
    tree = ast.parse(inspect.getsource(mmengine.runner.checkpoint))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]
    ours = inspect.signature(getattr(mmmtl.io.checkpoints, REPLACED[name]))
    for call in calls:
        ours.bind(*call.args, **{str(keyword.arg): keyword.value for keyword in call.keywords})
    return len(calls) >= 2


def a_sampler_can_be_replaced() -> bool:
    loader = DataLoader([0, 1, 2, 3, 4, 5], batch_size=2)
    loader.batch_sampler.sampler = [4, 5]
    return loader.batch_sampler.batch_size == 2 and [batch.tolist() for batch in loader] == [[4, 5]]


def samplers_count() -> bool:
    epochs = DefaultSampler([0] * 5, seed=3)
    return (epochs.epoch, epochs.total_size, epochs.rank, epochs.world_size, epochs.seed) == (0, 5, 0, 1, 3)


def an_endless_sampler_can_skip() -> bool:
    stream = InfiniteSampler([0] * 5, shuffle=False, seed=3)
    stream.skip(2)
    return (stream.rank, stream.world_size, stream.seed, next(iter(stream.indices))) == (0, 1, 3, 2)


def the_best_has_a_rule() -> bool:
    hook = CheckpointHook(save_best='auto', by_epoch=False)
    hook._init_rule(hook.rules, ['depth/loss'])
    better = hook.is_better_than['depth/loss'](1.0, hook.init_value_map[hook.rules[0]]) if hook.rules[0] else True
    return better and hook.filename_tmpl == 'iter_{}.pth' and hook.key_indicators == ['depth/loss']


LOUD = {
    ('config/variables.py', '_get_cfg_path'),
    ('datasets/base.py', '_fully_initialized'),
    ('engine/checked_runner.py', '_accumulative_counts'),
    ('engine/checked_runner.py', '_init_model_weights'),
    ('engine/hooks/accumulation_hook.py', '_inner_count'),
    ('engine/hooks/accumulation_hook.py', '_accumulative_counts'),
    ('evaluation/additive_metric.py', '_dataset_meta'),
    ('models/segmentors/clips.py', '_BatchNorm'),
    ('models/decode_heads/task_conv_head.py', '_BatchNorm'),
    ('models/pretrained.py', '_BatchNorm'),
    ('models/pretrained.py', '_get_init_info'),
    ('models/weighting/gradients.py', '_foreach_norm'),
    ('ops/local_attention/mmcv_backend.py', '_ext'),
    ('apis/optimize.py', '_BatchNorm'),
    ('apis/optimize.py', '_pytree'),
    ('apis/optimize.py', '_inductor'),
    ('apis/optimize.py', '_dynamo'),
    ('io/checkpoint_archive.py', '_C'),
    ('io/child.py', '_processes'),
}
"""Names whose absence is an error where they are used; the tests of these files would show it."""

INTERNALS: dict[tuple[str, str], Callable[[], bool]] = {
    ('_safe_loading.py', '_safe_torch_load'): lambda: calls_fit('_safe_torch_load'),
    ('_safe_loading.py', 'load_url'): lambda: calls_fit('load_url'),
    ('_safe_loading.py', 'CheckpointLoader.register_scheme'): lambda: (
        arguments(mmengine.runner.checkpoint.CheckpointLoader.register_scheme) == ['prefixes', 'loader', 'force']
    ),
    ('checkpoint.py', '_metadata'): lambda: isinstance(nn.Linear(1, 1).state_dict()._metadata, OrderedDict),
    ('tasks/order.py', '_load_from_state_dict'): lambda: (
        arguments(nn.Module._load_from_state_dict)[1:3] == ['state_dict', 'prefix']
    ),
    ('datasets/samplers.py', 'DefaultSampler.epoch, total_size, rank, world_size, seed'): samplers_count,
    ('datasets/samplers.py', 'InfiniteSampler.skip, indices, rank, world_size, seed'): an_endless_sampler_can_skip,
    ('engine/hooks/epoch_position_hook.py', 'DataLoader.batch_sampler.sampler'): a_sampler_can_be_replaced,
    ('engine/hooks/epoch_position_hook.py', 'EpochBasedTrainLoop.run_epoch'): lambda: (
        'enumerate(self.dataloader)' in inspect.getsource(EpochBasedTrainLoop.run_epoch)
    ),
    ('engine/hooks/checkpoint_hook.py', '_save_checkpoint_with_step, _save_best_checkpoint, _publish_model'): lambda: (
        arguments(CheckpointHook._save_checkpoint_with_step)[1:] == ['runner', 'step', 'meta']
        and arguments(CheckpointHook._save_best_checkpoint)[1:] == ['runner', 'metrics']
        and arguments(CheckpointHook._publish_model)[1:] == ['runner', 'ckpt_path']
    ),
    (
        'engine/hooks/checkpoint_hook.py',
        '_init_rule, is_better_than, init_value_map, filename_tmpl',
    ): the_best_has_a_rule,
    ('engine/hooks/resume_hook.py', '_decide_current_val_interval'): lambda: all(
        arguments(loop._decide_current_val_interval) == ['self'] for loop in (EpochBasedTrainLoop, IterBasedTrainLoop)
    ),
    ('engine/checked_runner.py', '_resume, _load_from'): lambda: (
        {'self._resume', 'self._load_from'} <= set(re.findall(r'self\._\w+', inspect.getsource(Runner.load_or_resume)))
    ),
    ('ops/local_attention/cpu_backend.py', '_dynamo_marked_constant'): lambda: (
        vars(torch.compiler.assume_constant_result(lambda: None)) == vars(cpu_backend.missing)
    ),
    ('models/segmentors/student_segmentor.py', '_apply'): lambda: arguments(nn.Module._apply)[1:] == ['fn', 'recurse'],
}
"""Names whose absence, or another meaning, would go unnoticed, and what must hold of them."""


@pytest.mark.parametrize(('file', 'name'), INTERNALS, ids=str)
def test_what_mmmtl_relies_on_is_there(file: str, name: str) -> None:
    try:
        there = INTERNALS[file, name]()
    except (AttributeError, ImportError, KeyError, TypeError) as error:
        pytest.fail(f'mmmtl/{file} relies on {name}: {error}')
    assert there, f'mmmtl/{file} relies on {name}, which is of another shape in this version'
    assert (PACKAGE / file).is_file()


def test_every_private_name_is_listed() -> None:
    trees = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in PACKAGE.rglob('*.py')}
    own = NOT_THEIRS | {name for tree in trees.values() for name in defined(tree)} | {Path(file).stem for file in trees}
    found = {(file, name) for file, tree in trees.items() for name in used(tree, own)}
    assert len(found) >= 7
    listed = LOUD | {(file, name) for file, names in INTERNALS for name in names.split(', ')}
    assert found <= listed, f'add these to INTERNALS or LOUD: {sorted(found - listed)}'


def defined(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a file defines or sets."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Store):
            yield node.attr if isinstance(node, ast.Attribute) else node.id


def used(tree: ast.AST, own: set[str]) -> Iterator[str]:
    """Yield the private names of others that a file uses; with `super()`, own names too."""
    for node in ast.walk(tree):
        names: list[str] = []
        inherited = False
        if isinstance(node, ast.Attribute):
            names = [node.attr]
            inherited = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == 'super'
        elif isinstance(node, ast.ImportFrom):
            names = [*(node.module or '').split('.'), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split('.')]
        for name in names:
            if name.startswith('_') and not name.startswith('__') and (inherited or name not in own):
                yield name
