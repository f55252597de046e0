"""Weightings of the gradients of shared parameters, all from torchjd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from mmmtl.registry import MODELS

from .base import GradientWeighting
from .library import torchjd


class Aggregation(GradientWeighting):
    """An aggregator of torchjd that computes weights from the inner products of the gradients."""

    finds_rank = False
    """Whether the aggregator counts independent directions; then its numbers are as exact as the gradients, no more."""

    def __init__(self, aggregator: Any, *, tasks: Sequence[str], log_interval: int) -> None:
        super().__init__(tasks=tasks, log_interval=log_interval)
        self.aggregator = aggregator

    def weigh(self, gramian: Tensor, tasks: Tensor) -> Tensor:
        # No weight depends on the unit of the losses, but torchjd takes gradients below 0.01 for none at all.
        scaled = (gramian / gramian.trace()).to(self.precision if self.finds_rank else torch.float64)
        weights: Tensor = self.aggregator.gramian_weighting(scaled)
        return weights


@MODELS.register_module()
class PCGrad(Aggregation):
    """The sum of the gradients, each projected onto the normal planes of those it conflicts with, in random order.

    Reference: Yu et al., Gradient Surgery for Multi-Task Learning, NeurIPS 2020, algorithm 1.
    """

    def __init__(self, *, tasks: Sequence[str], log_interval: int = 50) -> None:
        super().__init__(torchjd('aggregation').PCGrad(), tasks=tasks, log_interval=log_interval)

    def weigh(self, gramian: Tensor, tasks: Tensor) -> Tensor:
        with self.numbered_draws(gramian.device):
            return super().weigh(gramian, tasks)


@MODELS.register_module()
class CAGrad(Aggregation):
    """The direction near the mean gradient, within `c` times its length, that helps the worst task most.

    It needs `pip install "torchjd[cagrad]"`.

    Reference: Liu et al., Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021, algorithm 1; `c` is
    0.4 in its experiments on NYUv2 and Cityscapes.
    """

    def __init__(self, *, tasks: Sequence[str], c: float = 0.4, log_interval: int = 50) -> None:
        super().__init__(torchjd('aggregation').CAGrad(c=c, norm_eps=1e-12), tasks=tasks, log_interval=log_interval)


@MODELS.register_module()
class MGDA(Aggregation):
    """The shortest convex combination of the gradients, found by Frank and Wolfe's algorithm.

    Args:
        epsilon: the step below which the search stops.
        max_iters: the most iterations of the search.

    Reference: Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018, algorithm 2.
    """

    def __init__(
        self, *, tasks: Sequence[str], epsilon: float = 0.001, max_iters: int = 100, log_interval: int = 50
    ) -> None:
        aggregator = torchjd('aggregation').MGDA(epsilon=epsilon, max_iters=max_iters)
        super().__init__(aggregator, tasks=tasks, log_interval=log_interval)


@MODELS.register_module()
class IMTLG(Aggregation):
    """The combination, with weights that add up to 1, whose projections onto all gradients are equally long.

    Reference: Liu et al., Towards Impartial Multi-task Learning, ICLR 2021, section 3.1.
    """

    finds_rank = True

    def __init__(self, *, tasks: Sequence[str], log_interval: int = 50) -> None:
        super().__init__(torchjd('aggregation').IMTLG(), tasks=tasks, log_interval=log_interval)

    def weigh(self, gramian: Tensor, tasks: Tensor) -> Tensor:
        # Projections onto directions: from their cosines, in which short gradients count as much as long ones.
        norms = gramian.diag().sqrt()
        lengths = torch.where(norms > 0, norms, 1.0)
        weights = super().weigh(gramian / lengths / lengths[:, None], tasks) / lengths
        return weights / weights.sum()


@MODELS.register_module()
class AlignedMTL(Aggregation):
    """The mean of the gradients after their principal components are made equally long.

    A component of less than about 5e-4 of the length of the longest one counts as none, as float32 cannot tell it.

    Args:
        scale_mode: the length: that of the shortest component, the median one, or their root mean square.

    Reference: Senushkin et al., Independent Component Alignment for Multi-Task Learning, CVPR 2023, algorithm 1.
    """

    finds_rank = True

    def __init__(
        self, *, tasks: Sequence[str], scale_mode: Literal['min', 'median', 'rmse'] = 'min', log_interval: int = 50
    ) -> None:
        if scale_mode not in ('min', 'median', 'rmse'):
            raise ValueError(f"scale_mode must be 'min', 'median' or 'rmse', not {scale_mode!r}")
        aggregator = torchjd('aggregation').AlignedMTL(scale_mode=scale_mode)
        super().__init__(aggregator, tasks=tasks, log_interval=log_interval)


@MODELS.register_module()
class UPGrad(Aggregation):
    """The mean of the gradients, each projected onto the cone of directions that harm no task.

    It needs `pip install "torchjd[quadprog-projector]"`.

    Reference: Quinton and Rey, Jacobian Descent for Multi-Objective Optimization, 2024, section 3.
    """

    def __init__(self, *, tasks: Sequence[str], log_interval: int = 50) -> None:
        # torchjd's default lets a direction harm a task whose gradient is shorter than a thirtieth of another's.
        projector = torchjd('linalg').QuadprogProjector(norm_eps=0.0, reg_eps=1e-10)
        super().__init__(torchjd('aggregation').UPGrad(projector=projector), tasks=tasks, log_interval=log_interval)


@MODELS.register_module()
class NashMTL(GradientWeighting):
    """The combination on which the tasks would agree in Nash's bargaining game.

    It needs `pip install "torchjd[nash_mtl]"`, for which Python 3.13 lacks a wheel of ecos. Each search starts from the
    weights of the last one, which checkpoints hold.

    Args:
        max_norm: largest length of the combined gradient; 0 sets no limit.
        optim_niter: iterations of the search.

    Reference: Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022, algorithm 1.
    """

    last: Tensor

    def __init__(
        self, *, tasks: Sequence[str], max_norm: float = 1.0, optim_niter: int = 20, log_interval: int = 50
    ) -> None:
        super().__init__(tasks=tasks, log_interval=log_interval)
        self.max_norm = max_norm
        self.optim_niter = optim_niter
        self.register_buffer('last', torch.ones(len(tasks), dtype=torch.float64))
        self._new_search(len(tasks))  # tells now what is not installed

    def weigh(self, gramian: Tensor, tasks: Tensor) -> Tensor:
        search = self._new_search(len(tasks))
        search.prvs_alpha = self.last.cpu().numpy()[tasks.numpy()]
        # A square root of the inner products gives the same weights as the gradients, which are much larger.
        values, vectors = torch.linalg.eigh(gramian.double())
        weights: Tensor = search(vectors * values.clamp(min=0).sqrt())
        self.last[tasks.to(self.last.device)] = torch.from_numpy(search.prvs_alpha).to(self.last)
        return weights

    def _new_search(self, count: int) -> Any:
        nash = torchjd('aggregation').NashMTL(n_tasks=count, max_norm=self.max_norm, optim_niter=self.optim_niter)
        return nash.weighting
