"""The weights of a teacher, read when training begins."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import CheckpointLoader, Runner

from mmmtl.checkpoint import check_tasks, check_weights, trained_tasks, weights_of
from mmmtl.engine.unwrap import unwrap
from mmmtl.models import StudentSegmentor
from mmmtl.registry import HOOKS


@HOOKS.register_module()
class TeacherHook(Hook):
    """Gives a `StudentSegmentor` its teacher; does nothing to another model."""

    def before_train(self, runner: Runner) -> None:
        """Read `model.teacher.checkpoint`, with the loader and the checks of every checkpoint.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it would run code, was trained for other tasks, or is of another model than the teacher.
        """
        model = unwrap(runner.model)
        if not isinstance(model, StudentSegmentor):
            return
        name = model.teacher_cfg['checkpoint']
        try:
            checkpoint = CheckpointLoader.load_checkpoint(name, map_location='cpu')
        except FileNotFoundError:
            raise FileNotFoundError(
                f'{name}: no such checkpoint of the teacher; train the teacher first, or name its checkpoint with '
                '--cfg-options model.teacher.checkpoint=...'
            ) from None
        teacher, weights = model.new_teacher(), weights_of(checkpoint)
        try:
            if trained := trained_tasks(checkpoint):
                check_tasks(runner.cfg.model['tasks'], trained)
            check_weights(teacher, weights)
        except ValueError as error:
            raise ValueError(f'model.teacher.checkpoint ({name}): {error}') from None
        teacher.load_state_dict(weights, strict=False)
        model.set_teacher(teacher)
