"""What a part of a model may want to know of its training."""

from __future__ import annotations

from typing import Any


class TrainingObserver:
    """A base for modules that follow the training; every run calls these methods, which do nothing by default."""

    def on_train_start(self) -> None:
        """Prepare for training. The weights are loaded, and the model is on its device."""

    def on_train_progress(self, progress: float) -> None:
        """Follow the training; called before each iteration.

        Args:
            progress: share of the training that is done, 0 to 1.
        """

    def on_train_end(self) -> dict[str, Any]:
        """Return what training found, by the name of the JSON file that keeps it in the work directory."""
        return {}
