"""Everything that one revision computes for a config, in a process of its own; compare_runs.py starts it.

It must run with every revision since version 0.1.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import re
import shlex
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, DictAction
from torch import Tensor, nn

FRAMES = 7  # more than one interval of key frames
Record = dict[str, np.ndarray]
Renames = Sequence[tuple[str, str | None]]


def enter(root: str) -> None:
    """Let this process import mmmtl from `root`, and make it deterministic."""
    sys.path.insert(0, root)
    os.environ['PYTHONPATH'] = root
    import mmmtl

    assert Path(mmmtl.__file__).is_relative_to(root), f'{mmmtl.__file__} is imported instead of {root}'
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Output of libraries would hide the progress.
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def run(line: str, folder: str, renames: Renames, is_old: bool, args: argparse.Namespace) -> Record:
    """Train the model of a config, predict with it, and return everything that it computed, in order.

    The old revision leaves its inputs, weights and order of tasks in `folder`, and the new one takes them from there.
    """
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import init_default_scope

    import mmmtl.engine  # noqa: F401  registers the optimiser wrappers
    from mmmtl.registry import MODELS

    init_default_scope('mmmtl')
    shared = {} if is_old else torch.load(Path(folder, 'shared.pt'), weights_only=True)
    cfg = load_config(line, args, shared.get('tasks'))
    seed_everything(args.seed)
    model = MODELS.build(cfg.model)
    modules = {'model': model}
    if hasattr(model, 'new_teacher'):
        modules['teacher'] = model.new_teacher()
        model.set_teacher(modules['teacher'])
    if is_old:
        for module in modules.values():
            module.init_weights()
            shake(module)
        is_video = hasattr(model, 'key_frame_policy')
        batches = [make_batch(model.tasks, args.size, is_video, args.seed + i) for i in range(args.iterations + 1)]
        weights = {name: module.state_dict() for name, module in modules.items()}
        shared = {'tasks': list(cfg.tasks), 'batches': batches, 'weights': weights}
        torch.save(shared, Path(folder, 'shared.pt'))
    else:
        for name, module in modules.items():
            weights = rename_keys(shared['weights'][name], renames)
            module.load_state_dict(with_task_order(weights, module, shared['tasks']), strict=True)
    keys = rename_keys({name: name for name, _ in model.named_parameters()}, renames if is_old else [])
    watch = GradientNorms(model, {old: new for new, old in keys.items()})
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    *training, last = shared['batches']
    found: dict[str, Tensor] = {}
    model.train()
    for i, batch in enumerate(training):
        seed_everything(args.seed + i)
        for module in model.modules():
            # In version 0.1 only the head of a search followed the training, by `advance`.
            for method in ('on_train_progress', 'advance'):
                getattr(module, method, lambda progress: None)(i / len(training))
            getattr(module, 'before_iteration', lambda *_: None)(0, i / len(training), 0)
        losses = model.train_step(pack(batch, with_labels=True), optimizer)
        losses['in total'] = losses.pop('loss')
        losses = rename_keys(losses, renames if is_old else [])
        found |= {f'iteration {i}: loss {name}': torch.as_tensor(value) for name, value in losses.items()}
        found |= {f'iteration {i}: gradient norm of {name}': norm for name, norm in watch.pop().items()}
    model.eval()
    with torch.no_grad():
        found |= predict(model, last)
    return {name: value.detach().numpy() for name, value in found.items()}


def with_task_order(weights: dict[str, Any], model: nn.Module, order: Sequence[str]) -> dict[str, Any]:
    """Add the order in which modules concatenate tasks, where weights have none, as those of version 0.1."""
    try:
        from mmmtl.checkpoint import upgrade
    except ImportError:
        return weights
    return upgrade(OrderedDict(weights), model, order)


def load_config(line: str, args: argparse.Namespace, order: list[str] | None) -> Config:
    """Return the resolved config of a line, without pre-trained weights, with its tasks in the given order."""
    # Version 0.1 called it `resolve_tasks`.
    try:
        from mmmtl.config import resolve
    except ImportError:
        from mmmtl.tasks import resolve_tasks as resolve
    # A line has the form of a tool's arguments.
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    parser.add_argument('--tasks')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    options = parser.parse_args(shlex.split(line))
    cfg = Config.fromfile(options.config)
    cfg.merge_from_dict({**options.cfg_options, **args.cfg_options})
    names = options.tasks.split(',') if options.tasks else cfg.get('use_tasks') or list(cfg.tasks)
    if order is not None and set(order) != set(names):
        raise ValueError(f'{line}: the tasks are {names}, and were {order}')
    cfg.use_tasks = order or (sorted(names) if args.sort_tasks else names)
    drop_pretrained(cfg.model)
    return resolve(cfg)


def drop_pretrained(cfg: Any) -> None:
    """Remove every `init_cfg` from a nested config."""
    if isinstance(cfg, dict):
        cfg.pop('init_cfg', None)
    for child in cfg.values() if isinstance(cfg, dict) else cfg if isinstance(cfg, (list, tuple)) else ():
        drop_pretrained(child)


def seed_everything(seed: int) -> None:
    """Seed every generator that a model may use."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  other libraries may use it
    torch.manual_seed(seed)


def shake(module: nn.Module) -> None:
    """Add noise to the parameters: a gate that starts at zero would hide the layers behind it."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)


def make_batch(tasks: Mapping[str, Any], size: Sequence[int], is_video: bool, seed: int) -> dict[str, Any]:
    """Return a key frame and a non-key frame as plain tensors; a quarter of each label is missing."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(256, (2, 3, 3, *size), generator=generator, dtype=torch.uint8)
    frames = torch.randint(256, (FRAMES, 2, 3, *size), generator=generator, dtype=torch.uint8)
    labels = {}
    for name, task in sorted(tasks.items()):
        if task.dtype == torch.int64:
            label = torch.randint(task.out_channels, (2, 1, *size), generator=generator)
        else:
            label = torch.rand(2, task.map_channels, *size, generator=generator) + 0.1
            label = nn.functional.normalize(label) if task.map_channels == 3 else label
        label[..., : size[0] // 2, : size[1] // 2] = task.fill
        labels[name] = label
    return {'inputs': inputs if is_video else inputs[:, 2], 'frames': frames, 'labels': labels}


def pack(batch: dict[str, Any], *, with_labels: bool) -> dict[str, Any]:
    """Return a batch as pipelines pack it; without labels, predictions get the size of larger original images."""
    from mmengine.structures import PixelData

    from mmmtl.structures import MultiTaskDataSample

    height, width = size = batch['inputs'].shape[-2:]
    original = size if with_labels else (height + 5, width + 3)
    samples = []
    for row, offset in enumerate((0, 2)):
        sample = MultiTaskDataSample(metainfo=dict(img_shape=size, ori_shape=original, img_path='none'))
        if batch['inputs'].dim() == 5:
            # Revisions before `slots` read `valid_slots`.
            sample.set_metainfo(dict(offset=offset, valid_slots=(offset != 0, True, True)))
        if with_labels:
            sample.gt = PixelData(**{name: label[row] for name, label in batch['labels'].items()})
        samples.append(sample)
    return {'inputs': list(batch['inputs']), 'data_samples': samples}


class GradientNorms:
    """The norms of the gradients before they are clipped, in total and of each top-level module.

    `names` holds the parameters that count, with their names in the report.
    """

    def __init__(self, model: nn.Module, names: Mapping[str, str]) -> None:
        self.norms: dict[str, list[float]] = defaultdict(list)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and name in names:
                module = names[name].partition('.')[0]
                parameter.register_post_accumulate_grad_hook(partial(self._note, self.norms[module]))

    @staticmethod
    def _note(norms: list[float], parameter: nn.Parameter) -> None:
        norms.append(torch.linalg.vector_norm(parameter.grad, dtype=torch.float64).item())

    def pop(self) -> dict[str, Tensor]:
        """Return the norms since the last time."""
        everything = [norm for norms in self.norms.values() for norm in norms]
        parts = {**dict(sorted(self.norms.items())), 'the model': everything}
        # Unlike a sum, math.fsum does not depend on the order of the parameters.
        totals = {name: math.sqrt(math.fsum(norm**2 for norm in norms)) for name, norms in parts.items()}
        for norms in self.norms.values():
            norms.clear()
        return {name: torch.tensor(total, dtype=torch.float64) for name, total in totals.items()}


def predict(model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Return logits and maps of a batch, and logits of two streams; the second is reset halfway."""
    data = model.data_preprocessor(pack(batch, with_labels=False), False)
    output = model(**data, mode='tensor')
    logits = getattr(output, 'logits', output)
    samples = model(**data, mode='predict')
    names = sorted(model.tasks)
    found = {f'prediction: logits of {name}': logits[name] for name in names}
    found |= {f'prediction {i}: map of {name}': one.pred.get(name) for i, one in enumerate(samples) for name in names}
    state, is_video = None, hasattr(model, 'key_frame_policy')
    for i, frames in enumerate(batch['frames']):
        if is_video and i == FRAMES // 2:
            state = state.reset([1])
        inputs = model.data_preprocessor({'inputs': list(frames)}, False)['inputs']
        logits, is_key, state = step(model, inputs, state)
        found |= {f'frame {i}: is a key frame': is_key} if is_video else {}
        found |= {f'frame {i}: logits of {name}': logits[name] for name in names}
    return found


def step(model: nn.Module, frames: Tensor, state: Any) -> tuple[Mapping[str, Tensor], Any, Any]:
    """Return logits of the next frames, which are key frames, and the state after them."""
    if hasattr(model, 'step'):
        result = model.step(frames, state)
        return result.logits, result.is_key, result.state
    # Version 0.1 had no `step`.
    if not hasattr(model, 'stream_logits'):
        return model.logits(frames), None, None
    logits, after = model.stream_logits(frames, state)
    return logits, after.key_frames > (0 if state is None else state.key_frames), after


def rename_keys(values: Mapping[str, Any], renames: Renames) -> dict[str, Any]:
    """Return the values under their new keys; the patterns apply one after the other, and None drops a key.

    Raises:
        ValueError: two keys get the same name.
    """
    renamed: dict[str, Any] = {}
    for old, value in values.items():
        new: str | None = old
        for pattern, replacement in renames:
            if new is not None and re.search(pattern, new):
                new = None if replacement is None else re.sub(pattern, replacement, new)
        if new in renamed:
            raise ValueError(f'two weights are renamed to {new!r}, one of them {old!r}')
        if new is not None:
            renamed[new] = value
    return renamed
