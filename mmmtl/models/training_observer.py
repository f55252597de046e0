"""The interface of modules that follow the training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor


class TrainingObserver:
    """Base of modules that follow the training. Every run calls these methods, which do nothing by default."""

    def on_train_start(self) -> None:
        """Prepare for training, with the weights loaded and the model on its device."""

    def before_iteration(self, iteration: int, progress: float, draw_seed: int) -> None:
        """Follow the training, before each iteration.

        Args:
            iteration: counted from 0.
            progress: the share of the training that is done, 0 to 1.
            draw_seed: seed of this iteration alone, and the same on all processes.
        """

    def after_update(self, losses_now: Callable[[], Mapping[str, Tensor]]) -> None:
        """Follow the training, after the optimizer has changed the weights.

        `losses_now` computes the losses of the last batch again: without gradients, with the same random numbers, and
        without a change of the model's buffers.
        """

    def on_train_end(self) -> dict[str, Any]:
        """Return what training found, under the name of the JSON file for it in the work directory."""
        return {}
