"""Faster inference: folded batch norm, channels last, half precision, a graph for each kind of frame."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from mmcv.cnn import fuse_conv_bn
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map_only

from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.decode_heads import DecodeHead
from mmmtl.models.segmentors.frame_kinds import Core, frame_runs

Optimization = Literal['fuse', 'compile']
CoreFunction = Callable[..., Any]


def optimize_for_inference(
    model: MultiTaskSegmentor, how: Optimization = 'fuse', *, dtype: torch.dtype | None = None
) -> MultiTaskSegmentor:
    """Make a model faster, for inference only, and return it. Its parameters no longer match its config.

    'fuse' folds batch norm into the convolutions before it and lays weights and images out with channels last. Nothing
    is compiled, and results differ only by rounding. 'compile' also compiles a graph for each kind of frame (key frame
    or not, and what it reads of earlier frames), when the first one comes or in `warm_up`. A GPU replays it as a CUDA
    graph. On a CPU weights become constants in oneDNN's layout, with activations and sums fused into the convolutions.
    Only single frames (`step`) are compiled, not clips.

    Args:
        model: the model, changed in place; it must be on the device where it will run.
        how: 'fuse' or 'compile'.
        dtype: number type of weights and images, e.g. torch.bfloat16; None keeps it. Logits are decoded in float32 or
            wider.

    Raises:
        ValueError: an unknown `how`, a dtype that is not floating point, an optimised model, or no compiler.
    """
    if how not in ('fuse', 'compile'):
        raise ValueError(f"optimize must be 'fuse' or 'compile', not {how!r}")
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f'dtype must be floating point, not {dtype}')
    if model.optimized is not None:
        raise ValueError('this model has already been optimised; build it again')
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
    """Fold batch norm in eval mode into the convolutions before it."""
    for module in model.modules():
        if isinstance(module, DecodeHead):
            module.fold_norm()
        if isinstance(module, _BatchNorm) and not module.affine and module.running_var is not None:
            # mmcv multiplies by the weight, and these have none.
            module.weight = nn.Parameter(torch.ones_like(module.running_var))
            module.bias = nn.Parameter(torch.zeros_like(module.running_var))
    fuse_conv_bn(model)


@torch.inference_mode()
def warm_up(model: MultiTaskSegmentor, size: Sequence[int], *, batch: int = 1) -> None:
    """Run every kind of frame, so that all compilation happens now. `size` is (H, W), padding included."""
    frames = torch.zeros(batch, 3, *size, device=next(model.parameters()).device)
    # A CUDA graph is recorded at the second call.
    for _ in range(2):
        for run in frame_runs(model, frames).values():
            run()


def _prepared(run: CoreFunction, dtype: torch.dtype | None) -> CoreFunction:
    """Return `run` without gradients, and with its images cast to `dtype` and laid out with channels last."""

    @torch.inference_mode()
    def prepared(images: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        layout = torch.channels_last if images.dim() == 4 else torch.preserve_format
        return run(images.to(dtype=dtype or images.dtype, memory_format=layout), *args, **kwargs)

    return prepared


def _compiled(run: CoreFunction, device: torch.device) -> CoreFunction:
    on_gpu = device.type == 'cuda'
    compiled = torch.compile(run, mode='reduce-overhead' if on_gpu else None, dynamic=False)

    def patched(*args: Any, **kwargs: Any) -> Any:
        import torch._dynamo.config as dynamo  # slow to import
        import torch._inductor.config as inductor

        # Patched here, not passed to `torch.compile`: the earlier capture reads it too. With its own limit, PyTorch
        # compiles nothing after eight graphs.
        limit = dynamo.accumulated_recompile_limit
        with dynamo.patch(recompile_limit=limit), inductor.patch(freezing=not on_gpu):
            return compiled(*args, **kwargs)

    return copied_out(patched) if on_gpu else patched


def copied_out(run: CoreFunction) -> CoreFunction:
    """Wrap `run` so that its results are copied: the next replay of the CUDA graph would overwrite them."""

    def copied(*args: Any, **kwargs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return tree_map_only(torch.Tensor, torch.clone, run(*args, **kwargs))

    return copied


def _missing_compiler(device: torch.device) -> str:
    """Return the missing compiler for a device, or an empty string."""
    if device.type == 'cuda':
        return '' if importlib.util.find_spec('triton') else 'triton'
    from torch.utils import cpp_extension

    compiler = cpp_extension.get_cxx_compiler()  # type: ignore[no-untyped-call]
    return '' if shutil.which(compiler) else f'a C++ compiler ({compiler} is not installed)'
