"""The distillation loss of a student and its teacher, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmtl.models.layers import ModuleMap, ModuleRow, resize
from mmmtl.ops.precision import at_least_float32
from mmmtl.registry import MODELS
from mmmtl.tasks import Task
from mmmtl.tasks.reduction import mean


@MODELS.register_module()
class DistillationLoss(BaseModule):
    """For each task: 1 - cosine of the features, and the task's loss of the predictions (`Task.imitate`).

    Features are the maps that a task's final prediction is computed from. A learnt 1x1 convolution brings each map of
    the student to the channels of the teacher's, and bilinear resizing to its size. The cosine of the two vectors of a
    position is averaged over positions and maps, so neither the length of features nor the number of maps matters.

    Predictions count with the task's `loss_weight`, as its own losses do; features have no unit, so they do not.

    Args:
        student_channels: channels of the maps of a task, finest first; given by the segmentor, as `teacher_channels`.
        feature_weight: weight of the features; 0 leaves them, and the convolutions, out.
        prediction_weight: weight of the predictions; 0 leaves them out.
        temperature: temperature of the class probabilities that are imitated.

    Reference: Romero et al., FitNets, ICLR 2015, for the projected features; see also `mmmtl.tasks.imitation`.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        feature_weight: float = 1.0,
        prediction_weight: float = 1.0,
        temperature: float = 1.0,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if min(feature_weight, prediction_weight) < 0 or not max(feature_weight, prediction_weight):
            raise ValueError(
                'feature_weight and prediction_weight must not be negative, and at least one positive, not '
                f'{feature_weight} and {prediction_weight}'
            )
        if temperature <= 0:
            raise ValueError(f'temperature must be positive, not {temperature}')
        if feature_weight and len(student_channels) != len(teacher_channels):
            raise ValueError(
                f'the feature maps of a task have {list(student_channels)} channels in the student, and '
                f'{list(teacher_channels)} in the teacher; give both the same kind of head, or set feature_weight=0'
            )
        self.tasks = tasks
        self.feature_weight = feature_weight
        self.prediction_weight = prediction_weight
        self.temperature = temperature
        self.project = ModuleMap(
            {
                name: ModuleRow(
                    nn.Conv2d(own, other, 1) for own, other in zip(student_channels, teacher_channels, strict=True)
                )
                for name in (tasks if feature_weight else ())
            }
        )

    def forward(
        self,
        student_features: Mapping[str, Sequence[Tensor]],
        student_logits: Mapping[str, Tensor],
        teacher_features: Mapping[str, Sequence[Tensor]],
        teacher_logits: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Return `<task>.loss_feature` in 0..2 and `<task>.loss_prediction`, times their weights.

        Args:
            student_features: {task: maps (N, student_channels[i], h_i, w_i)}.
            student_logits: {task: (N, task.out_channels, h, w)}.
            teacher_features: {task: maps (N, teacher_channels[i], h'_i, w'_i)}, without gradient.
            teacher_logits: {task: (N, task.out_channels, h', w')}, without gradient.
        """
        losses = {}
        for name, task in self.tasks.items():
            if self.feature_weight:
                student_maps = _maps_of('student', student_features, name)
                teacher_maps = _maps_of('teacher', teacher_features, name)
                triples = zip(self.project[name], student_maps, teacher_maps, strict=True)
                distances = [_distance(project(own), other) for project, own, other in triples]
                losses[f'{name}.loss_feature'] = self.feature_weight * torch.stack(distances).mean()
            if self.prediction_weight:
                own, other = student_logits[name], teacher_logits[name]
                own, other = (x.to(at_least_float32(x)) for x in (resize(own, other.shape[-2:]), other))
                imitated = task.imitate(own, other, temperature=self.temperature)
                losses[f'{name}.loss_prediction'] = self.prediction_weight * task.loss_weight * imitated
        return losses


def _maps_of(model: str, features: Mapping[str, Sequence[Tensor]], task: str) -> Sequence[Tensor]:
    if task not in features:
        raise ValueError(
            f'the decode head of the {model} returns no HeadOutput.features of the task {task!r}; return them, or set '
            'feature_weight=0'
        )
    return features[task]


def _distance(own: Tensor, other: Tensor) -> Tensor:
    own = resize(own, other.shape[-2:])
    return 1 - mean(F.cosine_similarity(own.to(at_least_float32(own)), other.to(at_least_float32(other)), dim=1))
