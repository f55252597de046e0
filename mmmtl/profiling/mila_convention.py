"""Costs in MILA's tables 1 and 2, counted as the paper seems to count them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.backbones import as_maps
from mmmtl.models.decode_heads import SlotConv
from mmmtl.models.eval_mode import eval_mode
from mmmtl.models.segmentors.frame_kinds import IMAGE, KEY, ReadMemories

from .average import AVERAGE, average_frame


def paper_macs(model: MultiTaskSegmentor, shape: Sequence[int]) -> dict[str, float]:
    """Return the MACs by kind of frame, and their average for a video model, in the paper's convention.

    The paper names thop as its counter but not which modules it counts. These rules give its baselines and MILA's rows
    within 2.3 %, MultiNet++'s within 4 %:

    - Only modules count: a multiply-accumulate as one operation, a deconvolution at every output. Attention's products
      belong to no module and do not count; nor do batch norm, biases and interpolation.
    - Decoders do not count, except the first convolution over all slots, which fuses what is propagated. It counts if
      something is propagated, once for each set of slots: for every task, or once if tasks share their slots.
    - The embedding h counts once per source frame that is read.

    `shape` is the (H, W) of the image, padded as the data preprocessor pads it; `build_on_meta` makes a cheap model.
    A video model must have a `fast_backbone`, and a decoder that fuses slots with a `SlotConv`.
    """
    if model.has_key_frames and not hasattr(model, 'fast_backbone'):
        raise ValueError(f'{type(model).__name__} has no `fast_backbone` for its non-key frames')
    if model.has_key_frames and not any(isinstance(module, SlotConv) for module in model.decode_head.modules()):
        raise ValueError(f'{type(model.decode_head).__name__} has no SlotConv to count; use a TaskConvHead')
    device = next(model.parameters()).device
    images = torch.empty(1, 3, *model.data_preprocessor.padded_size(shape), device=device)
    with eval_mode(model):
        counts = {
            kind: float(_image_macs(model, images) if kind == IMAGE else _frame_macs(model, images, kind, read))
            for kind, read in model.steady_memories(images).items()
        }
    average = average_frame(counts, model.key_frame_interval)
    return counts if average is None else {**counts, AVERAGE: average}


def module_macs(model: nn.Module, run: Callable[[], Any]) -> Counter[str]:
    """Return {module: MACs} of the convolutions and linear layers that `run` uses, as thop counts them."""
    counts: Counter[str] = Counter()

    def count(name: str, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        counts[name] += output.numel() * _inputs(module, args)

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                hooks.callback(module.register_forward_hook(partial(count, name)).remove)
        run()
    return counts


def _image_macs(model: MultiTaskSegmentor, images: Tensor) -> int:
    return module_macs(model, lambda: model.features(images)).total()


def _frame_macs(model: MultiTaskSegmentor, images: Tensor, kind: str, read: ReadMemories) -> int:
    """Return the MACs of encoding a frame and propagating to it."""
    network, neck = model.backbone if kind == KEY else model.fast_backbone, model.neck
    assert neck is not None
    encode = module_macs(model, partial(network, images)).total()
    last_key, last_non_key = read
    if last_non_key is None and neck.reads_non_key(kind == KEY):
        # With an interval of 1 the key frame stands for it.
        encode += module_macs(model, partial(model.fast_backbone, images)).total()
        last_non_key = neck.remember(as_maps(model.fast_backbone(images))[-1], images)
    return encode + _propagation_macs(model, as_maps(network(images))[-1], images, (last_key, last_non_key))


def _propagation_macs(model: MultiTaskSegmentor, features: Tensor, images: Tensor, memories: ReadMemories) -> int:
    """Return the MACs of propagation to a frame: remembering, propagating and fusing."""
    neck = model.neck
    assert neck is not None
    current = neck.remember(features, images)
    slots = neck(current, *memories)
    sources = max(sum(slot is not None for slot in own) - 1 for own in slots.values())
    if not sources:
        return 0
    remember = module_macs(model, lambda: neck.remember(features, images))
    propagate = module_macs(model, lambda: neck(current, *memories))
    decode = module_macs(model, lambda: model.decode_head(slots))
    one_of_each_set = {tuple(map(id, own)): task for task, own in slots.items()}.values()
    fusing = {name for name, module in model.named_modules() if isinstance(module, SlotConv)}
    fuse = [count for name, count in decode.items() if name in fusing and name.rpartition('.')[2] in one_of_each_set]
    return sources * remember.total() + propagate.total() + sum(fuse)


def _inputs(module: Any, args: tuple[Any, ...]) -> int:
    """Return how many inputs each output of a module is computed from."""
    if isinstance(module, nn.ConvTranspose2d):
        return module.weight[:, 0].numel() // module.groups
    inputs = int(module.weight[0].numel())
    if isinstance(module, SlotConv):
        present = sum(slot is not None for slot in args[0])
        return inputs * present // module.num_slots
    return inputs
