"""Weights and a video for the commands that predict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmmtl.apis import VideoWriter
from mmmtl.config import load_config, resolve
from mmmtl.registry import MODELS


@pytest.fixture(scope='session')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of the tiny video model of the demo."""
    path = tmp_path_factory.mktemp('weights') / 'w.pth'
    model = resolve(load_config('mila_tiny-k5_1xb8-demo_synthetic-64x128')).model
    state = MODELS.build(model).state_dict()
    state['decode_head.predict.normals.3.bias'][2] = -9  # they face the camera, as what is read back must
    torch.save({'state_dict': state}, path)
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A video of seven frames, 0.1 s apart."""
    with VideoWriter(tmp_path / 'film.mp4', 10) as writer:
        for grey in range(0, 70, 10):
            writer.write(np.full((32, 64, 3), grey, np.uint8))
    return tmp_path / 'film.mp4'
