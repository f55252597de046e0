"""Automatic mixed precision, with and without a GPU."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper as CudaAmpOptimWrapper
from mmengine.optim import OptimWrapper
from torch.optim import Optimizer

from mmmtl.registry import OPTIM_WRAPPERS

DTYPES = {'float16': torch.float16, 'bfloat16': torch.bfloat16}


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(CudaAmpOptimWrapper):
    """mmengine's wrapper of this name, which in the scope of mmmtl also runs on a CPU.

    The loss is scaled only in float16, since bfloat16 has the range of float32.

    Args:
        optimizer, accumulative_counts, clip_grad: arguments of `OptimWrapper`.
        dtype: 'float16' or 'bfloat16'; by default float16 on a GPU, and bfloat16, the only one, on a CPU.
        loss_scale: 'dynamic', a fixed scale, or arguments of `torch.amp.GradScaler`.
    """

    def __init__(
        self,
        *,
        optimizer: Optimizer,
        dtype: str | torch.dtype | None = None,
        loss_scale: str | float | dict[str, Any] = 'dynamic',
        accumulative_counts: int = 1,
        clip_grad: dict[str, Any] | None = None,
    ) -> None:
        # mmengine's constructor wants a GPU.
        OptimWrapper.__init__(self, optimizer=optimizer, accumulative_counts=accumulative_counts, clip_grad=clip_grad)
        gpu = torch.cuda.is_available()
        dtype = dtype or ('float16' if gpu else 'bfloat16')
        self.cast_dtype = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
        if self.cast_dtype not in (DTYPES.values() if gpu else (torch.bfloat16,)):
            raise ValueError(
                f'optim_wrapper.dtype must be "float16" or "bfloat16" on a GPU, and "bfloat16" on a CPU, not {dtype!r}'
            )
        scaling: dict[str, Any] = {}
        self._scale_update_param = None
        if isinstance(loss_scale, dict):
            scaling = loss_scale
        elif isinstance(loss_scale, (int, float)) and not isinstance(loss_scale, bool):
            scaling['init_scale'] = self._scale_update_param = float(loss_scale)
        elif loss_scale != 'dynamic':
            raise ValueError(f"optim_wrapper.loss_scale must be 'dynamic', a number or a dict, not {loss_scale!r}")
        enabled = self.cast_dtype == torch.float16
        self.loss_scaler = torch.amp.GradScaler('cuda' if gpu else 'cpu', **{**scaling, 'enabled': enabled})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state. One saved in bfloat16 has no scale of the loss; float16 then starts with its initial scale."""
        if not state_dict.get('loss_scaler'):
            state_dict = {key: value for key, value in state_dict.items() if key != 'loss_scaler'}
        super().load_state_dict(state_dict)
