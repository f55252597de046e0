"""The task: everything that is specific to one kind of dense prediction, in one object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.structures import Array, CameraChange

from .arguments import check_choice, check_number
from .legend import Legend, Span
from .reduction import divide_sums
from .stored import Unit, single_plane

IGNORE = 255


class Task(ABC):
    """One dense prediction task: its map, losses, decoding, metrics and drawing.

    Models, pipelines, metrics, visualisers and the inferencer loop over tasks without knowing any by name. A new task
    is one new file with one subclass, registered in `TASKS`.

    Maps are NumPy arrays (H, W) or (H, W, 3) in the pipeline, and tensors (N, M, H, W) with M = `map_channels` in the
    model.

    Args:
        name: key of the task in the config.
        source: key of its maps in the data set; None means `name`.
        loss_weight: factor of its losses, at least 0.
        primary_metric: overrides the metric that `delta_m` uses for the task, for example RMSE for depth.
    """

    out_channels: int
    """Number of channels of the logits."""
    map_channels: int = 1
    """Number of channels of the map."""
    dtype: torch.dtype = torch.float32
    """Type of the map in the model."""
    fill: float = 0.0
    """Value of an unlabelled pixel, also used for padding; NaN if any number may be a label."""
    label_space_size: int = 2
    """Number of classes of `discretize`."""
    higher_is_better: dict[str, bool]
    """The metrics and whether higher is better."""
    temporal_metrics: dict[str, bool] = {'warp_err': False}
    """The metrics of change over time and whether higher is better; see `measure_change`."""
    consistency_windows: tuple[int, ...] = ()
    """Window lengths n of the temporal metrics `VC<n>`; see `TemporalConsistency`."""
    primary_metric: str
    """The metric that represents the task, for example in `delta_m`."""
    units: tuple[str, ...] = ()
    """The units that `interpret` knows."""
    takes_step: bool = False
    """Whether a unit may also be a number: what one step of the stored numbers stands for."""
    stored_unit: Unit | None = None
    """The unit of what `encode` returns; None is the usual one."""
    auxiliary: bool = False
    """Whether the task only helps the others to learn: no final prediction, metric or picture; see `build_tasks`."""

    def __init__(
        self, *, name: str, source: str | None = None, loss_weight: float = 1.0, primary_metric: str | None = None
    ) -> None:
        check_number(name, 'loss_weight', loss_weight, least=0)
        if source is not None and not (isinstance(source, str) and source):
            raise ValueError(f'task {name!r}: source must be the key of its maps in the data set, not {source!r}')
        self.name = name
        self.source = source or name
        self.loss_weight = loss_weight
        if primary_metric is not None:
            check_choice(name, 'primary_metric', primary_metric, sorted(self.higher_is_better))
            self.primary_metric = primary_metric

    def definition(self) -> dict[str, Any]:
        """Return what determines the meaning of the logits; a checkpoint with another definition is refused."""
        return {'type': type(self).__name__, 'out_channels': self.out_channels}

    def check_unit(self, unit: Unit) -> None:
        """Refuse a unit that `interpret` does not know."""
        step = self.takes_step and not isinstance(unit, (bool, str)) and 0 < unit < float('inf')
        if unit not in self.units and not step:
            known = [*map(repr, self.units), *(['the value of one step'] if self.takes_step else [])]
            owner = next(kind for kind in type(self).__mro__ if 'interpret' in vars(kind))
            borrows = getattr(type(self).interpret, '__qualname__', '') != f'{owner.__qualname__}.interpret'
            hint = '; with the `interpret` of another kind, a task needs its `units` and `takes_step`, too'
            raise ValueError(
                f'task {self.name!r}: unit {unit!r} is not one of {", ".join(known) or "none"}{hint if borrows else ""}'
            )

    def interpret(self, stored: Array, where: str, unit: Unit | None = None) -> Array:
        """Return the map in a file of a `VideoFolder` or an `ImageFolder`; refuse numbers that can be no such map.

        A task of another kind may borrow it, together with `units` and `takes_step`.

        Args:
            stored: the numbers in the file, (H, W), (H, W, 1) or (H, W, 3) in RGB order.
            where: the file, for messages.
            unit: one of `units`, or the value of a step if `takes_step`; None is the usual one.
        """
        return single_plane(stored)

    def examine(self, maps: Iterable[Array]) -> str | None:
        """Return what is wrong with all maps of a data set together, or None; read no more of them than needed."""
        for array in maps:
            if not np.array_equal(array, np.full_like(array, self.fill), equal_nan=True):
                return None
        return 'no pixel of them is labelled'

    def convert(self, array: Array) -> Array:
        """Convert a map from the data set's unit (class numbers, metres, pixels of disparity) to the task's."""
        return array

    def export(self, array: Array) -> Array:
        """Return a predicted map (M, H, W) in the data set's unit, (H, W) or (H, W, 3): the inverse of `convert`.

        Raises:
            ValueError: values that no prediction of the task has.
        """
        return array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0))

    def encode(self, array: Array) -> Array | None:
        """Return what a PNG holds of an exported map, for `interpret` with `stored_unit`: uint8, uint16 or RGB.

        None: no PNG can hold it, but an .npy file.

        Raises:
            ValueError: values that the PNG has no numbers for.
        """
        return None

    def check(self, array: Array, where: str) -> None:
        """Raise a ValueError that names `where` (a file) if the map has impossible values."""

    def adjust(self, array: Array, change: CameraChange) -> Array:
        """Adjust the values of a map, whose pixels have been moved already, to a change of the camera."""
        return array

    @abstractmethod
    def loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the losses by name (each starts with 'loss_'), before `loss_weight`.

        They are means over the labelled pixels of all processes, see `mmmtl.tasks.reduction`.

        Args:
            logits: (N, out_channels, H, W).
            target: (N, M, H, W); unlabelled pixels hold `fill`. If all are unlabelled, the loss is a zero tied to the
                graph.
        """

    def discretize(self, target: Tensor) -> Tensor:
        """Return the map as classes, (N, 1, H, W) int64 in 0..label_space_size - 1, 255 = ignore.

        Methods that describe an image by its regions use it. The default, for binary maps, is whether a pixel of
        `target` (N, M, H, W) is above one half; unlabelled pixels hold `fill`.
        """
        return (target > 0.5).long().masked_fill((target == self.fill) | target.isnan(), IGNORE)

    def label_space_loss(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return `loss_ce`, which `loss_weight` leaves alone: cross-entropy with `discretize(target)` where labelled.

        Logits are (N, label_space_size, H, W), and the target is that of `loss`.
        """
        labels = self.discretize(target).squeeze(1)
        total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction='sum')
        return {'loss_ce': divide_sums(total, (labels != IGNORE).sum())}

    def imitate(self, student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
        """Return the loss of a student's logits against a teacher's, before `loss_weight`.

        By default the teacher's prediction is the label. Classification tasks compare probabilities.

        Args:
            student: (N, out_channels, H, W).
            teacher: (N, out_channels, H, W), without gradient.
            temperature: softens probabilities; has no effect on other predictions.
        """
        return torch.stack(list(self.loss(student, self.decode(teacher)).values())).sum()

    @abstractmethod
    def decode(self, logits: Tensor) -> Tensor:
        """Decode logits (N, out_channels, H, W) to predicted maps (N, M, H, W)."""

    def decoding(self) -> dict[str, Any] | None:
        """Return what `decode` does as plain data, for programs without mmmtl: its kind, and the fields of that kind.

        The kinds and their fields are those of `mmmtl.export.onnx_stream`. None: no kind does the same, so a model with
        the task cannot be exported.
        """
        return None

    @abstractmethod
    def measure(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return what one image contributes to the metrics, from a prediction and a target (M, H, W).

        The contribution is a float64 vector. Vectors add up over images, batches and processes, so every metric is
        exact however the images are distributed.
        """

    @abstractmethod
    def summarize(self, totals: Tensor) -> dict[str, float]:
        """Compute the metrics of `higher_is_better` from summed vectors of `measure`; NaN if nothing was labelled."""

    def class_scores(self, totals: Tensor) -> dict[str, float]:
        """Compute the score of each class, in percent, from summed vectors of `measure`; empty without classes."""
        return {}

    def confusion(self, totals: Tensor) -> dict[str, dict[str, int]]:
        """Return {labelled class: {predicted class: pixels}} of summed results of `measure`; empty without classes."""
        return {}

    def differences(self, first: Tensor, second: Tensor) -> Tensor:
        """Compare predictions (M, P) of P surface points in a frame and in the next.

        Returns (K, P), one row for each of K temporal metrics; by default one row, the absolute difference averaged
        over the channels.
        """
        return (first - second).abs().mean(dim=0, keepdim=True)

    def measure_change(self, first: Tensor, second: Tensor) -> Tensor:
        """Return what a pair of frames contributes to the temporal metrics: a float64 vector that adds up.

        The arguments are those of `differences`.
        """
        sums = self.differences(first.double(), second.double()).sum(dim=1)
        return torch.cat([sums.new_tensor([first.shape[1]]), sums]).cpu()

    def summarize_change(self, totals: Tensor) -> dict[str, float]:
        """Compute the temporal metrics from summed vectors of `measure_change`; NaN if nothing was compared."""
        return dict(zip(self.temporal_metrics, (totals[1:] / totals[0]).tolist(), strict=True))

    @abstractmethod
    def constant(self, maps: Iterable[Array]) -> Array:
        """Fit the trivial predictor, one value for every pixel, to these maps; return it as (M, 1, 1).

        Raises a ValueError if no pixel is labelled.
        """

    def span(self, array: Array) -> Span | None:
        """Return the minimum and the maximum of a map (M, H, W) that its picture tells apart.

        Pictures that belong together, such as those of a video, share the span of all. None: there is no scale, or
        nothing to show.
        """
        return None

    @abstractmethod
    def draw(self, image: Array, array: Array, span: Span | None = None) -> Array:
        """Draw a map (M, H, W), predicted or labelled, of an image (H, W, 3) uint8 RGB; return the same kind.

        Args:
            image: what the map belongs to.
            array: the map.
            span: ends of the scale; None is the map's own.
        """

    def legend(self, array: Array, span: Span | None = None) -> Legend:
        """Return what explains the picture of a map; the arguments are those of `draw`."""
        return Legend()

    def __repr__(self) -> str:
        return f'{type(self).__name__}(name={self.name!r})'


def nothing_labelled(task: Task) -> ValueError:
    """Return the error of `Task.constant` for maps without a label."""
    return ValueError(f'task {task.name!r}: the maps have no labelled pixel, so no constant can be fitted to them')


def mean_map(task: Task, values: Iterable[Array]) -> Array:
    """Return the mean of all values as a map of shape (1, 1, 1); raise `nothing_labelled` if there are none."""
    total, count = 0.0, 0
    for array in values:
        total += array.sum(dtype=np.float64)
        count += array.size
    if not count:
        raise nothing_labelled(task)
    return np.full((1, 1, 1), total / count, dtype=np.float32)
