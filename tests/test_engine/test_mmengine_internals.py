"""Names of mmengine, mmcv and torch that may change with their versions, each with the file of mmmtl that uses it."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import mmengine.registry
import mmengine.runner.checkpoint
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, DefaultSampler, InfiniteSampler
from mmengine.evaluator import BaseMetric
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import PretrainedInit
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope, Registry, root
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

import mmmtl.io.checkpoints
from mmmtl._safe_loading import REPLACED

PACKAGE = Path(__file__).resolve().parents[2] / 'mmmtl'

NOT_THEIRS = {'_asdict', '_replace', '_gt', '_pred'}
"""A public method of named tuples, and fields that mmmtl sets by name."""


class Metric(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None: ...

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {}


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


def registries_have_children() -> bool:
    kinds = [kind for kind in vars(mmengine.registry).values() if isinstance(kind, Registry)]
    return len(kinds) > 20 and all(
        isinstance(kind.children, dict) and isinstance(kind.module_dict, dict) and isinstance(kind.scope, str)
        for kind in kinds
    )


def a_pool_names_its_processes() -> bool:
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(os.getpid).result()
        return list(pool._processes) == [pid]


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


def a_metric_keeps_the_metainfo() -> bool:
    metric = Metric()
    before, metric.dataset_meta = metric._dataset_meta, {'tasks': {}}
    return before is None and metric._dataset_meta == {'tasks': {}}


def buffers_are_built_from_lists() -> bool:
    hub = MessageHub('test')
    hub.update_scalar('loss', 2.0)
    values, counts = hub.state_dict()['log_scalars']['loss'].data
    again = HistoryBuffer(values.tolist(), counts.tolist())
    return [part.tolist() for part in again.data] == [[2.0], [1]]


def the_best_has_a_rule() -> bool:
    hook = CheckpointHook(save_best='auto', by_epoch=False)
    hook._init_rule(hook.rules, ['depth/loss'])
    better = hook.is_better_than['depth/loss'](1.0, hook.init_value_map[hook.rules[0]]) if hook.rules[0] else True
    return better and hook.filename_tmpl == 'iter_{}.pth' and hook.key_indicators == ['depth/loss']


def gradients_are_counted() -> bool:
    weight = nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(torch.optim.SGD([weight], lr=1.0), accumulative_counts=2)
    wrapper.update_params(weight.sum())
    return (wrapper._inner_count, wrapper._accumulative_counts, wrapper.should_update()) == (1, 2, False)


def batch_norms_have_a_base() -> bool:
    return all(issubclass(kind, nn.modules.batchnorm._BatchNorm) for kind in (nn.BatchNorm2d, nn.SyncBatchNorm))


INTERNALS: dict[tuple[str, str], Callable[[], bool]] = {
    ('_safe_loading.py', '_safe_torch_load'): lambda: calls_fit('_safe_torch_load'),
    ('_safe_loading.py', 'load_url'): lambda: calls_fit('load_url'),
    ('_safe_loading.py', 'CheckpointLoader.register_scheme'): lambda: (
        arguments(mmengine.runner.checkpoint.CheckpointLoader.register_scheme) == ['prefixes', 'loader', 'force']
    ),
    ('registry.py', 'root'): lambda: any(isinstance(kind, Registry) for kind in vars(root).values()),
    ('engine/build.py', 'Registry.children, module_dict, scope'): registries_have_children,
    ('config/variables.py', '_get_cfg_path'): lambda: (
        Config._get_cfg_path('base.py', str(Path('folder', 'config.py')))[0] == str(Path('folder', 'base.py'))
    ),
    ('engine/build.py', 'DefaultScope.overwrite_default_scope'): lambda: (
        arguments(DefaultScope.overwrite_default_scope) == ['scope_name']
    ),
    ('checkpoint.py', '_metadata'): lambda: isinstance(nn.Linear(1, 1).state_dict()._metadata, OrderedDict),
    ('tasks/order.py', '_load_from_state_dict'): lambda: (
        arguments(nn.Module._load_from_state_dict)[1:3] == ['state_dict', 'prefix']
    ),
    ('datasets/base.py', '_fully_initialized'): lambda: BaseDataset(lazy_init=True)._fully_initialized is False,
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
    ('engine/hooks/accumulation_hook.py', '_inner_count, _accumulative_counts'): gradients_are_counted,
    ('engine/hooks/checkpoint_guard_hook.py', 'log_scalars, HistoryBuffer.data'): buffers_are_built_from_lists,
    ('evaluation/additive_metric.py', '_dataset_meta'): a_metric_keeps_the_metainfo,
    ('models/segmentors/clips.py', '_BatchNorm'): batch_norms_have_a_base,
    ('models/decode_heads/task_conv_head.py', '_BatchNorm'): batch_norms_have_a_base,
    ('models/segmentors/student_segmentor.py', '_apply'): lambda: arguments(nn.Module._apply)[1:] == ['fn', 'recurse'],
    ('ops/local_attention/mmcv_backend.py', '_ext'): lambda: importlib.util.find_spec('mmcv') is not None,
    ('apis/optimize.py', '_pytree'): lambda: (
        torch.utils._pytree.tree_map_only(torch.Tensor, torch.neg, {'x': torch.ones(1), 'y': 'z'})
        == {'x': -torch.ones(1), 'y': 'z'}
    ),
    ('models/weighting/gradients.py', '_foreach_norm'): lambda: (
        [float(norm) for norm in torch._foreach_norm([torch.tensor([3.0, 4.0])])] == [5.0]
    ),
    ('models/pretrained.py', '_get_init_info'): lambda: isinstance(PretrainedInit('')._get_init_info(), str),
    ('models/pretrained.py', '_BatchNorm'): lambda: issubclass(nn.BatchNorm2d, nn.modules.batchnorm._BatchNorm),
    ('io/checkpoint_archive.py', '_C'): lambda: hasattr(torch._C.PyTorchFileReader, 'get_record'),
    ('io/child.py', '_processes'): lambda: a_pool_names_its_processes(),
    ('apis/optimize.py', '_inductor'): lambda: isinstance(inductor_config().freezing, bool),
}


def inductor_config() -> Any:
    import torch._inductor.config as inductor

    return inductor


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
    listed = {(file, name) for file, names in INTERNALS for name in names.split(', ')}
    assert found <= listed, f'add these to INTERNALS: {sorted(found - listed)}'


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
