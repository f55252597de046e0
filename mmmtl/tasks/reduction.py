"""Sums and means over the batches of all processes, from which every loss is made.

DistributedDataParallel averages gradients. If every process took the mean over its own labelled pixels, the weight of a
pixel would depend on how the batch is shared out.
"""

from __future__ import annotations

import torch
import torch.distributed
from mmengine.dist import get_world_size
from torch import Tensor

from mmmtl.ops.precision import at_least_float32


def sum_over_processes(*parts: Tensor) -> tuple[Tensor, ...]:
    """Return the sums of scalars over all processes; a single process gets its own parts back.

    All processes must call it equally often and in the same order, also those without a labelled pixel. The gradient of
    a sum reaches the part of this process, times the number of processes, by which DistributedDataParallel divides.
    """
    if (processes := get_world_size()) == 1:
        return parts
    own = torch.stack([part.to(parts[0].device, torch.float64) for part in parts])
    total = own.detach().clone()
    torch.distributed.all_reduce(total)
    total = total + processes * (own - own.detach())
    return tuple(value.to(part.dtype) for value, part in zip(total, parts, strict=True))


def divide_sums(total: Tensor, count: Tensor) -> Tensor:
    """Return the sum of `total` over all processes by that of `count`; a zero tied to the graph if nothing counts."""
    total, count = sum_over_processes(total, count)
    return total / count.clamp(min=torch.finfo(count.dtype).tiny if count.is_floating_point() else 1)


def mean(values: Tensor) -> Tensor:
    """Return the mean over all processes, summed in float32 at least; zero without values."""
    return divide_sums(values.sum(dtype=at_least_float32(values)), torch.tensor(values.numel()))


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over all processes of `values` where `mask` is set; a zero tied to the graph if it is nowhere."""
    return divide_sums(torch.where(mask, values, torch.zeros_like(values)).sum(), mask.sum())
