"""Running a trained model on one's own pictures and videos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

from mmmtl.checkpoint import load_from_local, load_weights
from mmmtl.config import input_size, resolve
from mmmtl.datasets.transforms.geometric import resize_image
from mmmtl.engine import check_components
from mmmtl.io.images import read_image
from mmmtl.io.video import read_frames
from mmmtl.registry import MODELS
from mmmtl.structures import StreamState
from mmmtl.visualization import grid, task_tiles

from .optimize import Optimization, optimize_for_inference, warm_up

Maps = dict[str, np.ndarray]


class Prediction(NamedTuple):
    """A frame as the model saw it, its maps, whether it is a key frame, and the state of the stream after it."""

    image: np.ndarray
    maps: Maps
    is_key: bool
    state: StreamState


class MultiTaskInferencer:
    """A model with its weights, for pictures (`__call__`) and for videos, cameras and streams (`stream`).

    Args:
        config: a config file or Config.
        weights: a checkpoint; None keeps the initial weights.
        device: 'cpu', 'cuda', ...; by default CUDA where there is one.
        size: (height, width) that pictures are resized to for the model, and that maps have; by default that of the
            config's test pipeline, if it has one. None keeps that of the pictures.
        optimize: 'fuse' or 'compile' for speed, see `optimize_for_inference`; None leaves the model as it is.
        dtype: in which an optimised model computes; None keeps float32.

    Raises:
        FileNotFoundError: no such config or checkpoint.
        ValueError: the checkpoint is of other tasks, unsafe, or does not fit the model; it cannot be compiled here.

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

    def __call__(self, images: str | Path | np.ndarray | Sequence[Any]) -> Maps | list[Maps]:
        """Maps of one picture, or of each of several: {task: (M, H, W)}.

        A video model treats each picture as the first frame of a video.

        Args:
            images: a file name or a (H, W, 3) uint8 BGR array, or a sequence of them.

        Raises:
            FileNotFoundError: no such file.
            ValueError: no readable image, or an array of another kind.
        """
        if isinstance(images, (str, Path, np.ndarray)):
            return self._predict(self._load(images), None).maps
        return [self._predict(self._load(image), None).maps for image in images]

    def stream(self, video: str | Path | int | Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, Maps]]:
        """Frames and maps of a video, one by one, with no more delay than the model's.

        With optimize='compile' every kind of frame is compiled before the first one is predicted.

        Args:
            video: a file, a folder of frames, a URL, the number of a camera, or frames (H, W, 3) uint8 BGR; all of one
                size.

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

    def step(self, frame: np.ndarray, state: StreamState | None = None) -> Prediction:
        """Predict the next frame of one stream, with a state that the caller keeps.

        Args:
            frame: (H, W, 3) uint8 BGR.
            state: after the frame before; None begins a stream.

        Raises:
            ValueError: an array of another kind, or a size that is not that of the frames before.
        """
        image = self._load(frame)
        if state is None and self.optimize == 'compile':
            warm_up(self.model, self._inputs(image).shape[-2:])
        return self._predict(image, state)

    def panel(self, frame: np.ndarray, maps: Maps) -> np.ndarray:
        """The frame and every map side by side, (H, W, 3) uint8 RGB."""
        image = np.ascontiguousarray(frame[..., ::-1])
        return grid([[('input', image), *task_tiles(image, maps, self.tasks, '')]])

    def _load(self, image: str | Path | np.ndarray) -> np.ndarray:
        array = image if isinstance(image, np.ndarray) else read_image(image)
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise ValueError(f'a picture must be (H, W, 3) uint8 BGR, not {array.shape} {array.dtype}')
        return array if self.size is None else resize_image(array, self.size)

    @torch.inference_mode()
    def _predict(self, image: np.ndarray, state: StreamState | None) -> Prediction:
        inputs = self._inputs(image)
        logits, is_key, state = self.model.step(inputs, state)
        (maps,) = self.model.decode(logits, inputs.shape[-2:], [image.shape[:2]])
        return Prediction(image, {name: maps.get(name).cpu().numpy() for name in self.tasks}, bool(is_key), state)

    def _inputs(self, image: np.ndarray) -> Tensor:
        """(1, 3, H, W), normalised and padded."""
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return self.model.data_preprocessor({'inputs': [pixels]})['inputs']
