"""The task: everything that one kind of dense prediction needs, in one object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.structures import CameraChange

IGNORE = 255


class Task(ABC):
    """One dense prediction task: its map, loss, decoding, metrics and picture.

    Model, pipeline, metric, visualiser and inferencer loop over tasks and know none by name. A new task is one new
    file with one subclass, registered in `TASKS`.

    Maps of the pipeline are NumPy arrays, (H, W) or (H, W, 3); inside the model they are tensors (N, M, H, W) with
    M = `map_channels`.

    Args:
        name: key of the task in the config and of its maps in a data set, set by `resolve`.
        source: key of its maps in the data set where that is not `name`.
        loss_weight: factor of its losses.
        primary_metric: the metric that stands for the task, where that is not the usual one: papers that report depth
            by RMSE take delta_m of it too.

    Raises:
        ValueError: the task has no metric of that name.
    """

    out_channels: int
    """Channels of the logits."""
    map_channels: int = 1
    """Channels of its map."""
    dtype: torch.dtype = torch.float32
    """Type of its map in the model."""
    fill: float = 0.0
    """Value of a pixel without label; maps are padded with it."""
    label_space_size: int = 2
    """Classes of `discretize`."""
    higher_is_better: dict[str, bool]
    """Its metrics and their directions."""
    temporal_metrics: dict[str, bool] = {'warp_err': False}
    """How its predictions change over time: names and directions, see `measure_change`."""
    consistency_windows: tuple[int, ...] = ()
    """Lengths n of the windows of its temporal metrics `VC<n>`, see `TemporalConsistency`."""
    primary_metric: str
    """The metric that stands for the task, in delta_m for one."""

    def __init__(
        self, *, name: str, source: str | None = None, loss_weight: float = 1.0, primary_metric: str | None = None
    ) -> None:
        self.name = name
        self.source = source or name
        self.loss_weight = loss_weight
        if primary_metric is not None:
            if primary_metric not in self.higher_is_better:
                raise ValueError(
                    f'task {name!r}: primary_metric must be one of {sorted(self.higher_is_better)}, not '
                    f'{primary_metric!r}'
                )
            self.primary_metric = primary_metric

    def definition(self) -> dict[str, Any]:
        """What decides the meaning of the logits: a checkpoint is refused by a task of another definition."""
        return {'type': type(self).__name__, 'out_channels': self.out_channels}

    def convert(self, array: np.ndarray) -> np.ndarray:
        """The map as this task wants it, from what data sets deliver (labels, metres, pixels of disparity)."""
        return array

    def check(self, array: np.ndarray, where: str) -> None:
        """Refuse a map with values out of range.

        Raises:
            ValueError: the map has impossible values; `where` (a file name) stands in the message.
        """

    def adjust(self, array: np.ndarray, change: CameraChange) -> np.ndarray:
        """The map's values after a change of camera; the pixels were moved before."""
        return array

    @abstractmethod
    def loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Losses by name (each starts with 'loss_'), before `loss_weight`.

        Args:
            logits: (N, out_channels, H, W).
            target: (N, M, H, W); pixels without label hold `fill`. With none labelled the loss is a zero that is tied
                to the graph.
        """

    def discretize(self, target: Tensor) -> Tensor:
        """The map as classes, (N, 1, H, W) int64 in 0..label_space_size - 1, 255 = ignore.

        Methods that describe a picture by its regions need a label space of every task. The default is that of a
        binary map: whether a pixel is above one half.

        Args:
            target: (N, M, H, W); pixels without label hold `fill`.
        """
        return (target > 0.5).long().masked_fill(target == self.fill, IGNORE)

    def label_space_loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """`loss_ce`, before `loss_weight`: cross-entropy with `discretize(target)`, averaged over the labelled pixels.

        Args:
            logits: (N, label_space_size, H, W).
            target: (N, M, H, W), see `loss`.
        """
        labels = self.discretize(target).squeeze(1)
        total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction='sum')
        return {'loss_ce': total / (labels != IGNORE).sum().clamp(min=1)}

    def imitate(self, student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
        """The loss of a student's logits against a teacher's, before `loss_weight`.

        By default the teacher's prediction takes the place of the label. Tasks of classes compare probabilities.

        Args:
            student: (N, out_channels, H, W).
            teacher: (N, out_channels, H, W), without gradient.
            temperature: softens probabilities; other predictions have none.
        """
        return torch.stack(list(self.loss(student, self.decode(teacher)).values())).sum()

    @abstractmethod
    def decode(self, logits: Tensor) -> Tensor:
        """Predicted maps (N, M, H, W) of logits (N, out_channels, H, W)."""

    @abstractmethod
    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """What one image adds to the score: a float64 vector.

        Vectors of images, batches and processes add up, which makes every metric exact however the images are spread.

        Args:
            prediction: (M, H, W), as `decode` gives it.
            target: (M, H, W).
        """

    @abstractmethod
    def summarize(self, totals: Tensor) -> dict[str, float]:
        """The metrics, one for each of `higher_is_better`, from summed vectors of `measure`."""

    def differences(self, first: Tensor, second: Tensor) -> Tensor:
        """How far predictions of the same surfaces are apart, (K, P): a row for each of K temporal metrics.

        The default is one row, the mean over channels of the absolute difference.

        Args:
            first: (M, P), as `decode` gives them, at P pixels of a frame.
            second: (M, P), of the next frame.
        """
        return (first - second).abs().mean(dim=0, keepdim=True)

    def measure_change(self, first: Tensor, second: Tensor) -> Tensor:
        """What a frame and the next add to the temporal scores: a float64 vector, additive like that of `measure`.

        Args:
            first: see `differences`.
            second: see `differences`.
        """
        sums = self.differences(first.double(), second.double()).sum(dim=1)
        return torch.cat([sums.new_tensor([first.shape[1]]), sums]).cpu()

    def summarize_change(self, totals: Tensor) -> dict[str, float]:
        """The temporal metrics from summed vectors of `measure_change`; NaN where nothing was compared."""
        return dict(zip(self.temporal_metrics, (totals[1:] / totals[0]).tolist(), strict=True))

    @abstractmethod
    def constant(self, maps: Iterable[np.ndarray]) -> np.ndarray:
        """The trivial predictor: one value for every pixel, fitted to these maps, as a map of shape (M, 1, 1).

        Raises:
            ValueError: nothing is labelled in the maps.
        """

    @abstractmethod
    def draw(self, image: np.ndarray, array: np.ndarray) -> np.ndarray:
        """A picture of the map: (H, W, 3) uint8 RGB.

        Args:
            image: (H, W, 3) uint8 RGB, what the map belongs to.
            array: (M, H, W), a predicted or labelled map.
        """

    def __repr__(self) -> str:
        return f'{type(self).__name__}(name={self.name!r})'


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask`; zero, tied to the graph, where nothing is."""
    return torch.where(mask, values, torch.zeros_like(values)).sum() / mask.sum().clamp(min=1)


def nothing_labelled(task: Task) -> ValueError:
    """The error of `Task.constant` for maps without a label."""
    return ValueError(f'task {task.name!r}: the maps have no labelled pixel, so no constant can be fitted to them')


def mean_map(task: Task, values: Iterable[np.ndarray]) -> np.ndarray:
    """Return the mean of all values as a map of shape (1, 1, 1).

    Raises:
        ValueError: there are no values.
    """
    total, count = 0.0, 0
    for array in values:
        total += array.sum(dtype=np.float64)
        count += array.size
    if not count:
        raise nothing_labelled(task)
    return np.full((1, 1, 1), total / count, dtype=np.float32)
