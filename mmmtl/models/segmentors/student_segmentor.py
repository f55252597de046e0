"""A student: an image model that learns from labels and from a frozen teacher."""

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
    """The config of an image model, which gets the student's tasks, and the path or URL of its checkpoint."""

    model: dict[str, Any]
    checkpoint: str


@MODELS.register_module()
class StudentSegmentor(MultiTaskSegmentor, TrainingObserver):
    """`MultiTaskSegmentor` that in training also imitates the features and predictions of a teacher.

    The teacher is used only in training. It gets its weights when training starts, stays frozen in eval mode and is not
    a submodule, so it appears in no state dict, optimiser or cost. The checkpoint is that of the student alone and also
    loads into the same model without `teacher` and `distillation`. This `DistillationLoss` gets `tasks` and the
    channels of both heads; unlabelled images are distilled as well.
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
        preliminary_weight: float = 1.0,
        weighting: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            tasks=tasks,
            backbone=backbone,
            decode_head=decode_head,
            neck=neck,
            task_backbone=task_backbone,
            preliminary_weight=preliminary_weight,
            weighting=weighting,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        if set(teacher) != {'model', 'checkpoint'}:
            raise ValueError(f"model.teacher must have 'model' and 'checkpoint', not {sorted(teacher)}")
        self.teacher_cfg = teacher
        # A tuple keeps it from becoming a submodule.
        self._teacher: tuple[MultiTaskSegmentor, ...] = ()
        with torch.device('meta'):
            theirs = self.new_teacher().decode_head.feature_channels
        channels = dict(student_channels=self.decode_head.feature_channels, teacher_channels=theirs)
        self.distillation = MODELS.build({**distillation, **channels, 'tasks': in_order(self.main_tasks)})

    def new_teacher(self) -> MultiTaskSegmentor:
        """Build a teacher without its weights."""
        try:
            model = MODELS.build({**self.teacher_cfg['model'], 'tasks': self.tasks})
        except ValueError as error:
            raise ValueError(f'in model.teacher.model, which gets the tasks of the student: {error}') from error
        # A subclass may take other inputs or have a teacher itself.
        if type(model) is not MultiTaskSegmentor:
            raise ValueError(f'model.teacher.model must be a MultiTaskSegmentor, not a {type(model).__name__}')
        return model

    def on_train_start(self) -> None:
        """Load the teacher; refuse files that would run code, and weights of other tasks or another model."""
        name, teacher = self.teacher_cfg['checkpoint'], self.new_teacher()
        try:
            checkpoint = CheckpointLoader.load_checkpoint(name, map_location='cpu')
            load_weights(teacher, checkpoint, tasks=self.tasks)
        except FileNotFoundError:
            raise FileNotFoundError(
                f'{name}: the checkpoint of the teacher does not exist; train the teacher first, or set its path with '
                '--cfg-options model.teacher.checkpoint=...'
            ) from None
        except ValueError as error:
            raise ValueError(f'model.teacher.checkpoint ({name}): {error}') from None
        self.set_teacher(teacher)

    def set_teacher(self, teacher: MultiTaskSegmentor) -> None:
        """Take a teacher that has its weights, freeze it, and move it to where this model is.

        Raises:
            ValueError: it was trained with a normalisation of the images that differs from this model's.
        """
        ours, theirs = (model.data_preprocessor.normalisation for model in (self, teacher))
        if ours != theirs:
            raise ValueError(
                f'the data_preprocessor of the student has (mean, std)={ours}, that of its teacher {theirs}; the '
                "teacher sees the student's images, so give the student the data_preprocessor of the teacher"
            )
        self._teacher = (teacher.requires_grad_(False).eval().to(next(self.parameters())),)

    def loss(self, inputs: Tensor, data_samples: Samples) -> dict[str, Tensor]:
        """Return the task losses, `distill.<task>.loss_feature` and `distill.<task>.loss_prediction`."""
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
        """Apply what `to`, `cuda`, `double`, ... do to the teacher as well."""
        for teacher in self._teacher:
            teacher._apply(fn, recurse)
        super()._apply(fn, recurse)
        return self
