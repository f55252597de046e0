"""Inference with a trained model on images, videos and streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

from mmmtl.checkpoint import load_weights
from mmmtl.config import input_size, resolve
from mmmtl.engine import check_components
from mmmtl.io.checkpoints import load_from_local
from mmmtl.io.images import read_image, resize_image
from mmmtl.io.video import read_frames
from mmmtl.registry import MODELS
from mmmtl.structures import Array, StreamState
from mmmtl.visualization import grid, task_tiles

from .optimize import Optimization, optimize_for_inference, warm_up

TaskMaps = dict[str, Array]


class Prediction(NamedTuple):
    """A frame as the model saw it, its maps, whether it is a key frame, and the stream's state after it."""

    image: Array
    maps: TaskMaps
    is_key: bool
    state: StreamState


class MultiTaskInferencer:
    """A model with its weights, for images (`__call__`) and for videos, cameras and streams (`stream`).

    Args:
        config: a config file or Config.
        weights: a checkpoint; None keeps the initial weights.
        device: 'cpu', 'cuda', ...; None is CUDA if available.
        size: (height, width) of the maps and of the images that the model gets; 'config' takes that of the test
            pipeline, if it has one; None keeps the images' own size.
        optimize: 'fuse' or 'compile' for speed (see `optimize_for_inference`).
        dtype: in which an optimised model computes; None keeps float32.

    Raises:
        FileNotFoundError: no such config or checkpoint.
        ValueError: the checkpoint is unsafe or does not fit the model, or the model cannot be compiled here.

    Examples:
        >>> inferencer = MultiTaskInferencer('config.py', 'weights.pth')  # doctest: +SKIP
        >>> depth = inferencer('room.jpg')['depth']  # (1, H, W) metres  # doctest: +SKIP
        >>> for frame, maps in inferencer.stream('drive.mp4'): ...  # doctest: +SKIP
    """

    def __init__(
        self,
        config: str | Path | Config,
        weights: str | Path | None = None,
        *,
        device: str | None = None,
        size: tuple[int, int] | Literal['config'] | None = 'config',
        optimize: Optimization | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        cfg = config if isinstance(config, Config) else Config.fromfile(config)
        cfg = resolve(cfg)
        init_default_scope(cfg.get('default_scope', 'mmmtl'))
        check_components(Config(dict(model=cfg.model)))
        self.device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        self.size = input_size(cfg) if size == 'config' else size
        self.model = MODELS.build(cfg.model).to(self.device)
        self.model.eval()
        if weights is not None:
            checkpoint = load_from_local(weights, map_location='cpu')
            load_weights(self.model, checkpoint, tasks=cfg.model['tasks'])
        self.tasks = self.model.tasks
        self.optimize = optimize
        if optimize is not None:
            optimize_for_inference(self.model, optimize, dtype=dtype)
        elif dtype is not None:
            raise ValueError(f"dtype={dtype} needs optimize='fuse' or 'compile'")

    def __call__(self, images: str | Path | Array | Sequence[Any]) -> TaskMaps | list[TaskMaps]:
        """Return the maps {task: (M, H, W)} of one image, or of each of several.

        An image is a file name or a (H, W, 3) uint8 BGR array. A video model treats each as the first frame of a video.

        Raises:
            FileNotFoundError: no such file.
            ValueError: an unreadable image, or an array of another shape or type.
        """
        if isinstance(images, (str, Path, np.ndarray)):
            return self._predict(self._load(images), None).maps
        return [self._predict(self._load(image), None).maps for image in images]

    def stream(self, video: str | Path | int | Iterable[Array]) -> Iterator[tuple[Array, TaskMaps]]:
        """Yield each frame of a video with its maps, as soon as it is predicted.

        With optimize='compile' every kind of frame is compiled before the first one is predicted.

        Args:
            video: a file, a folder of frames, a URL, a camera number, or (H, W, 3) uint8 BGR frames of one size.

        Yields:
            The frame as the model saw it, (H, W, 3) uint8 BGR, and its maps {task: (M, H, W)}.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the video cannot be opened, holds no frame, or changes its size.
        """
        state = None
        for frame in read_frames(video):
            image, maps, _, state = self.step(frame, state)
            yield image, maps

    def step(self, frame: Array, state: StreamState | None = None) -> Prediction:
        """Predict the next frame of a stream, (H, W, 3) uint8 BGR.

        `state` is the one after the previous frame; None starts a stream. All frames must have one size.
        """
        image = self._load(frame)
        if state is None and self.optimize == 'compile':
            warm_up(self.model, self._inputs(image).shape[-2:])
        return self._predict(image, state)

    def panel(self, frame: Array, maps: TaskMaps) -> Array:
        """Return the frame and all its maps side by side, (H, W, 3) uint8 RGB."""
        image = np.ascontiguousarray(frame[..., ::-1])
        return grid([[('input', image), *task_tiles(image, maps, self.tasks, '')]])

    def _load(self, image: str | Path | Array) -> Array:
        array = image if isinstance(image, np.ndarray) else read_image(image)
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise ValueError(f'an image must be (H, W, 3) uint8 BGR, not {array.shape} {array.dtype}')
        return array if self.size is None else resize_image(array, self.size)

    @torch.inference_mode()
    def _predict(self, image: Array, state: StreamState | None) -> Prediction:
        inputs = self._inputs(image)
        logits, is_key, state = self.model.step(inputs, state)
        (maps,) = self.model.decode(logits, inputs.shape[-2:], [image.shape[:2]])
        return Prediction(image, {name: maps.get(name).cpu().numpy() for name in self.tasks}, bool(is_key), state)

    def _inputs(self, image: Array) -> Tensor:
        """Return the image as a (1, 3, H, W) batch, normalised and padded."""
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        inputs: Tensor = self.model.data_preprocessor({'inputs': [pixels]})['inputs']
        return inputs
