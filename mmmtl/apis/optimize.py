"""Making a trained model fast: batch norm folded, channels last, half precision, a graph of each kind of frame."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from mmcv.cnn import fuse_conv_bn
from torch import nn
from torch.utils._pytree import tree_map_only

from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.decode_heads import DecodeHead
from mmmtl.models.segmentors.frame_kinds import Core, frame_runs

Optimization = Literal['fuse', 'compile']
Run = Callable[..., Any]


def optimize_for_inference(
    model: MultiTaskSegmentor, how: Optimization = 'fuse', *, dtype: torch.dtype | None = None
) -> MultiTaskSegmentor:
    """The model itself, faster: for inference alone, and with parameters that no longer fit its config.

    'fuse' folds batch norm into the convolutions before it and lays weights and pictures out with channels last;
    nothing has to be compiled, and results differ by rounding only. 'compile' also makes a graph of each kind of frame
    (key frame or not, and what it reads of earlier ones) when the first one comes, or in `warm_up`. On a GPU the graph
    is replayed as a CUDA graph; on a CPU its weights become constants in the layout of oneDNN, with activations and
    sums fused into the convolutions. Compiled are frames, as `step` takes them; clips are not.

    Args:
        model: it is changed, and on the device where it will run.
        how: see above.
        dtype: of weights and pictures, e.g. torch.bfloat16; None keeps it. Logits are decoded in float32 or wider.

    Raises:
        ValueError: an unknown `how`, a dtype that is not floating, a model that was optimised before, or no compiler.
    """
    if how not in ('fuse', 'compile'):
        raise ValueError(f"optimize must be 'fuse' or 'compile', not {how!r}")
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f'dtype must be floating point, not {dtype}')
    if model.optimized is not None:
        raise ValueError('this model was optimised before; build it anew')
    device = next(model.parameters()).device
    if how == 'compile' and (missing := _missing_compiler(device)):
        raise ValueError(f"optimize='compile' on {device.type} needs {missing}; optimize='fuse' does not")
    fold_norms(model.eval())
    for name, child in model.named_children():
        if name != 'data_preprocessor':
            child.to(dtype=dtype, memory_format=torch.channels_last)
    model.requires_grad_(False)
    frames, clips = model.core
    if how == 'compile':
        frames = _compiled(frames, device)
    model.optimized = Core(_prepared(frames, dtype), clips and _prepared(clips, dtype))
    return model


def fold_norms(model: nn.Module) -> None:
    """Batch norm in eval mode becomes part of the convolution before it."""
    for module in model.modules():
        if isinstance(module, DecodeHead):
            module.fold_norm()
    fuse_conv_bn(model)


@torch.inference_mode()
def warm_up(model: MultiTaskSegmentor, size: Sequence[int], *, batch: int = 1) -> None:
    """Run every kind of frame, so that what is compiled at its first frame is compiled now.

    Args:
        model: compiled or not.
        size: (H, W) of the pictures, padding included.
        batch: pictures, or streams.
    """
    frames = torch.zeros(batch, 3, *size, device=next(model.parameters()).device)
    # A CUDA graph is recorded at the second call.
    for _ in range(2):
        for run in frame_runs(model, frames).values():
            run()


def _prepared(run: Run, dtype: torch.dtype | None) -> Run:
    """`run`, its pictures brought to `dtype` with channels last, without anything that gradients need."""

    @torch.inference_mode()
    def prepared(pictures: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        layout = torch.channels_last if pictures.dim() == 4 else torch.preserve_format
        return run(pictures.to(dtype=dtype or pictures.dtype, memory_format=layout), *args, **kwargs)

    return prepared


def _compiled(run: Run, device: torch.device) -> Run:
    if device.type == 'cuda':
        return copied_out(torch.compile(run, mode='reduce-overhead', dynamic=False))
    compiled = torch.compile(run, dynamic=False)

    def frozen(*args: Any, **kwargs: Any) -> Any:
        import torch._inductor.config as inductor  # slow to import

        # Not an option of `torch.compile`: the capture, which comes first, reads it too.
        with inductor.patch(freezing=True):
            return compiled(*args, **kwargs)

    return frozen


def copied_out(run: Run) -> Run:
    """`run` with its tensors copied out of the memory of a CUDA graph, which the next replay overwrites."""

    def copied(*args: Any, **kwargs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return tree_map_only(torch.Tensor, torch.clone, run(*args, **kwargs))

    return copied


def _missing_compiler(device: torch.device) -> str:
    """What is not installed that compiles for a device; empty if it is."""
    if device.type == 'cuda':
        return '' if importlib.util.find_spec('triton') else 'triton'
    from torch.utils import cpp_extension

    compiler = cpp_extension.get_cxx_compiler()
    return '' if shutil.which(compiler) else f'a C++ compiler ({compiler} is not installed)'
