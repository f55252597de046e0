"""Costs of a model: multiply-accumulates (MACs) and parameters of every component."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from prettytable import PrettyTable
from torch import nn

from mmmtl.config import resolve
from mmmtl.config.components import check_components
from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.eval_mode import eval_mode
from mmmtl.models.segmentors.frame_kinds import IMAGE, KEY, NON_KEY, frame_runs
from mmmtl.registry import MODELS

from .average import AVERAGE, average_frame
from .macs import count_macs


@dataclass(frozen=True)
class Cost:
    """Cost of one part of a model; the parts of a `ModelCost` do not overlap.

    Args:
        component: a child of the model (backbone, neck, decode_head, ...), or one of the `cost_parts` that a child
            lists (decode_head.heads, ...).
        task: the task that this part serves exclusively; '' if it is shared (attention counts here).
        params: number of parameters.
        macs: MACs by kind of frame: 'image', or 'key' and 'non_key'.
        at_inference: False for what only training needs, such as the alignment loss.
    """

    component: str
    task: str
    params: int
    macs: dict[str, int]
    at_inference: bool = True


@dataclass(frozen=True)
class ModelCost:
    """Cost of a model for one image, or for one frame of a video in the steady state.

    Args:
        shape: (H, W) of the image.
        interval: frames from one key frame to the next; None for an image model or a policy without an interval.
        parts: disjoint.
        operators: MACs of each operator by kind of frame.
    """

    shape: tuple[int, int]
    interval: int | None
    parts: tuple[Cost, ...]
    operators: dict[str, dict[str, int]]

    @property
    def kinds(self) -> list[str]:
        """The kinds of frames that were counted."""
        return list(self.operators)

    def total(self, component: str | None = None) -> Cost:
        """Sum over a component and its parts, or over everything that runs at inference."""
        parts = [p for p in self.parts if (p.at_inference if component is None else _is_in(p.component, component))]
        macs = {kind: sum(part.macs[kind] for part in parts) for kind in self.kinds}
        params = sum(part.params for part in parts)
        return Cost(component or 'total', '', params, macs, any(part.at_inference for part in parts))

    def average(self, macs: Mapping[str, int]) -> float | None:
        """Return the MACs per frame averaged over the interval, or None without an interval."""
        return average_frame(macs, self.interval)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        total = self.total()
        sums = {**total.macs, **({AVERAGE: self.average(total.macs)} if KEY in total.macs else {})}
        parts = [asdict(part) for part in self.parts]
        head = dict(shape=list(self.shape), key_frame_interval=self.interval, params=total.params, macs=sums)
        return {**head, 'parts': parts, 'operators': self.operators}


def build_on_meta(cfg: Config) -> MultiTaskSegmentor:
    """Return a config's model on the meta device: tensors have shapes but take no memory. No file is read.

    It is built there, or first on the CPU if that fails: mmseg's transformers compute with values when they are built.
    """
    cfg = resolve(cfg)
    init_default_scope(cfg.get('default_scope', 'mmmtl'))
    check_components(Config(dict(model=cfg.model)))
    without = _without(cfg.model.to_dict(), ('init_cfg', 'backend'))  # kernels cannot run on meta tensors
    try:
        with torch.device('meta'):
            model: MultiTaskSegmentor = MODELS.build(without)
    except (RuntimeError, TypeError):
        model = MODELS.build(without).to('meta')
    return model


def count_cost(model: MultiTaskSegmentor, shape: Sequence[int]) -> ModelCost:
    """Return the cost of a model for an image of `shape` (H, W), padded as the data preprocessor pads it.

    Video models are in the steady state: every memory that a frame reads exists. Convolutions, linear layers, matrix
    products and attention count; batch norm, interpolation and element-wise work do not. The model computes its logits,
    which is cheap after `build_on_meta`.
    """
    device = next(model.parameters()).device
    image = torch.empty(1, 3, *model.data_preprocessor.padded_size(shape), device=device)
    own: dict[str, dict[str, int]] = {}
    operators: dict[str, dict[str, int]] = {}
    with eval_mode(model):
        for kind, run in frame_runs(model, image).items():
            own[kind], operators[kind] = count_macs(model, run)
    return ModelCost((shape[0], shape[1]), model.key_frame_interval, tuple(_parts(model, own)), operators)


def cost_table(cost: ModelCost) -> str:
    """Return a table of the parameters and MACs of each component and, indented, of each task in it."""
    video = KEY in cost.kinds
    columns = ['key GMAC', 'non-key GMAC', f'average (K = {cost.interval or "?"}) GMAC'] if video else ['GMAC']
    table = PrettyTable(['component', 'params (M)', *columns])
    table.align = 'r'
    table.align['component'] = 'l'

    def add(label: str, part: Cost, *, divider: bool = False) -> None:
        values = [part.macs.get(KEY), part.macs.get(NON_KEY), cost.average(part.macs)] if video else [part.macs[IMAGE]]
        shown = ['' if value is None else f'{value / 1e9:.3f}' for value in values]
        if not part.at_inference:
            label, shown = f'{label} (training only)', [''] * len(values)
        table.add_row([label, f'{part.params / 1e6:.3f}', *shown], divider=divider)

    components = list(dict.fromkeys(part.component for part in cost.parts))
    running = [name for name in components if cost.total(name).at_inference]
    for name in running:
        parts = [part for part in cost.parts if part.component == name]
        add(name, cost.total(name), divider=name == running[-1] and len(parts) == 1)
        for part in parts if len(parts) > 1 else []:
            add(f'  {part.task or "rest"}', part, divider=name == running[-1] and part is parts[-1])
    add('total', cost.total())
    for name in components:
        if name not in running:
            add(name, cost.total(name))
    return f'{table.get_string()}\nfor {cost.shape[0]}x{cost.shape[1]} pixels (height x width)'


def _parts(model: MultiTaskSegmentor, own: Mapping[str, Mapping[str, int]]) -> Iterator[Cost]:
    """Yield the cost of each component and task, given the MACs of each module by kind of frame."""
    places = _places(model)
    params: Counter[tuple[str, str]] = Counter()
    for name, parameter in model.named_parameters():
        params[places[name.rpartition('.')[0]]] += parameter.numel()
    macs: dict[str, Counter[tuple[str, str]]] = {kind: Counter() for kind in own}
    for kind, counts in own.items():
        for name, count in counts.items():
            macs[kind][places[name]] += count
    ran = {component for counts in macs.values() for component, _ in counts}
    # The networks first, side by side.
    components = ['']
    for name, child in sorted(model.named_children(), key=lambda item: not item[0].endswith('backbone')):
        components += [name, *(f'{name}.{part}' for part in getattr(child, 'cost_parts', ()))]
    for component in components:
        for task in (*model.tasks, ''):
            place = component, task
            spent = {kind: counts[place] for kind, counts in macs.items()}
            if params[place] or any(spent.values()):
                yield Cost(component or 'model', task, params[place], spent, component in ran)


def _places(model: MultiTaskSegmentor) -> dict[str, tuple[str, str]]:
    """Return the component of each module, and the task that it serves exclusively ('' if it is shared).

    A component is a child of the model, or one of the `cost_parts` of a child. A module serves a task if it is that
    task's entry in a ModuleDict or lies inside it; the outermost entry counts.
    """
    modules = dict(model.named_modules())
    places = {'': ('', '')}
    for name in modules:
        parent, _, own = name.rpartition('.')
        component, task = places[parent]
        if not parent or '.' not in parent and own in getattr(modules[parent], 'cost_parts', ()):
            component = name
        if not task and own in model.tasks and isinstance(modules[parent], nn.ModuleDict):
            task = own
        places[name] = component, task
    return places


def _is_in(component: str, whole: str) -> bool:
    return component == whole or component.startswith(f'{whole}.')


def _without(value: Any, keys: Collection[str]) -> Any:
    """Return a nested config without these keys."""
    if isinstance(value, Mapping):
        return {key: _without(item, keys) for key, item in value.items() if key not in keys}
    return type(value)(_without(item, keys) for item in value) if isinstance(value, (list, tuple)) else value


def average_macs(model: MultiTaskSegmentor, frames: Mapping[tuple[int, int, str], int]) -> float:
    """Return the average MACs per frame, each frame counted as one of its kind in the steady state.

    `frames` holds the number of frames of each (height, width, kind), as `StreamTestLoop.frames`.
    """
    costs = {shape: count_cost(model, shape).total().macs for shape in {(height, width) for height, width, _ in frames}}
    total = sum(number * costs[height, width][kind] for (height, width, kind), number in frames.items())
    return total / sum(frames.values())
