"""A student: the image model that learns from labels and from a frozen teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor

from mmmtl.checkpoint import load_weights
from mmmtl.models.decode_heads.two_step_head import TwoStepHead
from mmmtl.models.training_observer import TrainingObserver
from mmmtl.registry import MODELS

from .multi_task_segmentor import MultiTaskSegmentor, Samples


class Teacher(TypedDict):
    """`model` is the config of an image model, which is given the student's tasks; `checkpoint` a path or URL."""

    model: dict[str, Any]
    checkpoint: str


@MODELS.register_module()
class StudentSegmentor(MultiTaskSegmentor, TrainingObserver):
    """`MultiTaskSegmentor` that in training also imitates the features and predictions of a teacher.

    Nothing but training needs the teacher. It gets its weights when training begins, stays in eval mode without
    gradients, and is no child: it is in no state dict, optimiser or cost. At inference this is the student alone, whose
    checkpoint the same model without `teacher` and `distillation` reads too.

    Pictures without a label are imitated as those with one.

    Args:
        teacher: see `Teacher`.
        distillation: config of `DistillationLoss`; is given `tasks` and the channels of both heads.
        backbone: see `MultiTaskSegmentor`, as `tasks`, `neck`, `task_backbone` and `data_preprocessor`.
        decode_head: likewise; it and the teacher's must be a `TwoStepHead`.

    Raises:
        ValueError: the teacher is no image model, a head is not open to losses, or their features do not match.
    """

    def __init__(
        self,
        *,
        teacher: Teacher,
        distillation: dict[str, Any],
        backbone: dict[str, Any],
        decode_head: dict[str, Any],
        tasks: Mapping[str, Any] | None = None,
        neck: dict[str, Any] | None = None,
        task_backbone: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            tasks=tasks,
            backbone=backbone,
            decode_head=decode_head,
            neck=neck,
            task_backbone=task_backbone,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        if set(teacher) != {'model', 'checkpoint'}:
            raise ValueError(f"model.teacher must have 'model' and 'checkpoint', not {sorted(teacher)}")
        self.teacher_cfg = teacher
        # In a tuple, so that it does not become a child.
        self._teacher: tuple[MultiTaskSegmentor, ...] = ()
        with torch.device('meta'):
            theirs = _open_head(self.new_teacher(), 'model.teacher.model')
        channels = dict(
            student_channels=_open_head(self, 'model').feature_channels, teacher_channels=theirs.feature_channels
        )
        self.distillation = MODELS.build({**distillation, **channels, 'tasks': self.tasks})

    def new_teacher(self) -> MultiTaskSegmentor:
        """A teacher without its weights."""
        model = MODELS.build({**self.teacher_cfg['model'], 'tasks': self.tasks})
        # Not a subclass, which may take other inputs or have a teacher itself.
        if type(model) is not MultiTaskSegmentor:
            raise ValueError(f'model.teacher.model must be a MultiTaskSegmentor, not a {type(model).__name__}')
        return model

    def on_train_start(self) -> None:
        """Read the teacher.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            ValueError: it would run code, was trained for other tasks, or is of another model than the teacher.
        """
        name, teacher = self.teacher_cfg['checkpoint'], self.new_teacher()
        try:
            checkpoint = CheckpointLoader.load_checkpoint(name, map_location='cpu')
            load_weights(teacher, checkpoint, tasks=self.tasks)
        except FileNotFoundError:
            raise FileNotFoundError(
                f'{name}: no such checkpoint of the teacher; train the teacher first, or name its checkpoint with '
                '--cfg-options model.teacher.checkpoint=...'
            ) from None
        except ValueError as error:
            raise ValueError(f'model.teacher.checkpoint ({name}): {error}') from None
        self.set_teacher(teacher)

    def set_teacher(self, teacher: MultiTaskSegmentor) -> None:
        """Take a teacher that has its weights; it is frozen, and goes where this model goes."""
        self._teacher = (teacher.requires_grad_(False).eval().to(next(self.parameters())),)

    def loss(self, inputs: Tensor, data_samples: Samples) -> dict[str, Tensor]:
        """Losses of the tasks, and `distill.<task>.loss_feature` and `distill.<task>.loss_prediction`.

        Raises:
            ValueError: there is no teacher yet.
        """
        if not self._teacher:
            raise ValueError(
                'the student has no teacher yet: train through mmmtl.engine.build_runner(cfg), which reads '
                'model.teacher.checkpoint, or call model.set_teacher(teacher)'
            )
        features, logits, preliminary = _two_steps(self, inputs)
        with torch.no_grad():
            their_features, their_logits, _ = _two_steps(self._teacher[0], inputs)
        losses = self.task_losses(logits | preliminary, data_samples)
        imitated = self.distillation(features, logits, their_features, their_logits)
        return losses | {f'distill.{name}': value for name, value in imitated.items()}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> StudentSegmentor:
        """What `to`, `cuda`, `double`, ... do to a module and its children, for the teacher too."""
        for teacher in self._teacher:
            teacher._apply(fn, recurse)
        return super()._apply(fn, recurse)


def _open_head(model: MultiTaskSegmentor, where: str) -> TwoStepHead:
    head = model.decode_head
    if not isinstance(head, TwoStepHead):
        raise ValueError(
            f'{where}.decode_head: distillation needs the features that a head predicts from, and '
            f'{type(head).__name__} has no `task_features` and `task_logits` (see TwoStepHead), as SCAHead, '
            'MultiScaleHead and TaskConvHead have'
        )
    return head


def _two_steps(model: MultiTaskSegmentor, inputs: Tensor) -> tuple[Any, dict[str, Tensor], dict[str, Tensor]]:
    """Features, logits and preliminary predictions."""
    features, preliminary = model.decode_head.task_features(model.features(inputs))
    return features, model.decode_head.task_logits(features), preliminary
