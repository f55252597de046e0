"""A student: the image model that learns from labels and from a frozen teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor

from mmmtl.checkpoint import load_weights
from mmmtl.models.training_observer import TrainingObserver
from mmmtl.registry import MODELS
from mmmtl.tasks.order import in_order

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
        decode_head: likewise.

    Raises:
        ValueError: the teacher is no image model, or the features of the two heads do not match.
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
            theirs = self.new_teacher().decode_head.feature_channels
        channels = dict(student_channels=self.decode_head.feature_channels, teacher_channels=theirs)
        self.distillation = MODELS.build({**distillation, **channels, 'tasks': in_order(self.tasks)})

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
        output = self.decode_head(self.features(inputs))
        with torch.no_grad():
            theirs = self._teacher[0].decode_head(self._teacher[0].features(inputs))
        losses = self.head_losses(output, data_samples)
        imitated = self.distillation(output.features, output.logits, theirs.features, theirs.logits)
        return losses | {f'distill.{name}': value for name, value in imitated.items()}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> StudentSegmentor:
        """What `to`, `cuda`, `double`, ... do to a module and its children, for the teacher too."""
        for teacher in self._teacher:
            teacher._apply(fn, recurse)
        return super()._apply(fn, recurse)
