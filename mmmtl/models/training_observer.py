"""The interface of modules that follow the training."""

from __future__ import annotations

from typing import Any


class TrainingObserver:
    """Base of modules that follow the training. Every run calls these methods, which do nothing by default."""

    def on_train_start(self) -> None:
        """Prepare for training, with the weights loaded and the model on its device."""

    def on_train_progress(self, progress: float) -> None:
        """Follow the training, before each iteration; `progress` is the share done, 0 to 1."""

    def on_train_end(self) -> dict[str, Any]:
        """Return what training found, under the name of the JSON file for it in the work directory."""
        return {}
