"""Running a trained model on one's own pictures and videos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_state_dict
from torch import Tensor

from mmmtl.datasets.readers import read_picture
from mmmtl.engine import check_components, check_tasks, load_from_local
from mmmtl.models import VideoMultiTaskSegmentor
from mmmtl.registry import MODELS
from mmmtl.structures import StreamState
from mmmtl.tasks import resolve_tasks
from mmmtl.visualization import grid, task_tiles

Maps = dict[str, np.ndarray]


class MultiTaskInferencer:
    """A model with its weights, for pictures (`__call__`) and for videos, cameras and streams (`stream`).

    Args:
        config: a config file or Config.
        weights: a checkpoint; None keeps the initial weights.
        device: 'cpu', 'cuda', ...; by default CUDA where there is one.
        size: (height, width) that pictures are resized to for the model; None keeps theirs. Maps have that size.

    Raises:
        ValueError: the checkpoint is of other tasks, unsafe, or does not fit the model.

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
        size: tuple[int, int] | None = None,
    ) -> None:
        cfg = config if isinstance(config, Config) else Config.fromfile(config)
        cfg = resolve_tasks(cfg)
        init_default_scope(cfg.get('default_scope', 'mmmtl'))
        check_components(Config(dict(model=cfg.model)))
        self.device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        self.size = size
        self.model = MODELS.build(cfg.model).to(self.device)
        self.model.eval()
        if weights is not None:
            checkpoint = load_from_local(str(weights), map_location='cpu')
            if trained := checkpoint.get('meta', {}).get('dataset_meta', {}).get('tasks'):
                check_tasks(cfg.model['tasks'], trained)
            load_state_dict(self.model, checkpoint.get('state_dict', checkpoint), strict=False)
        self.tasks = self.model.tasks

    def __call__(self, images: str | Path | np.ndarray | Sequence[Any]) -> Maps | list[Maps]:
        """Maps of one picture, or of each of several: {task: (M, H, W)}.

        A video model treats each picture as the first frame of a video.

        Args:
            images: a file name or a (H, W, 3) uint8 BGR array, or a sequence of them.
        """
        if isinstance(images, (str, Path, np.ndarray)):
            return self._predict(self._load(images), None)[0]
        return [self._predict(self._load(image), None)[0] for image in images]

    def stream(self, video: str | Path | int | Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, Maps]]:
        """Frames and maps of a video, one by one, with no more delay than the model's.

        Args:
            video: a file, a folder of frames, a URL, the number of a camera, or frames (H, W, 3) uint8 BGR.

        Yields:
            The frame as the model saw it, (H, W, 3) uint8 BGR, and its maps {task: (M, H, W)}.

        Raises:
            ValueError: the video cannot be opened.
        """
        state = None
        for frame in read_frames(video):
            frame = self._load(frame)
            maps, state = self._predict(frame, state)
            yield frame, maps

    def panel(self, frame: np.ndarray, maps: Maps) -> np.ndarray:
        """The frame and every map side by side, (H, W, 3) uint8 RGB."""
        image = np.ascontiguousarray(frame[..., ::-1])
        return grid([[('input', image), *task_tiles(image, maps, self.tasks, '')]])

    def _load(self, image: str | Path | np.ndarray) -> np.ndarray:
        array = image if isinstance(image, np.ndarray) else read_picture(image)
        return array if self.size is None else cv2.resize(array, self.size[::-1], interpolation=cv2.INTER_AREA)

    @torch.inference_mode()
    def _predict(self, image: np.ndarray, state: StreamState | None) -> tuple[Maps, StreamState | None]:
        size = image.shape[:2]
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        inputs: Tensor = self.model.data_preprocessor({'inputs': [pixels]})['inputs']
        if isinstance(self.model, VideoMultiTaskSegmentor):
            logits, state = self.model.stream_logits(inputs, state)
        else:
            logits = self.model(inputs)
        maps = self.model.decode({name: value[0] for name, value in logits.items()}, inputs.shape[-2:], size, size)
        return {name: maps.get(name).cpu().numpy() for name in self.tasks}, state


def read_frames(video: str | Path | int | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 BGR of a video file, folder, URL, camera or iterable."""
    if isinstance(video, (str, Path)) and Path(video).is_dir():
        for path in sorted(Path(video).iterdir()):
            yield read_picture(path)
    elif isinstance(video, (str, Path, int)):
        capture = cv2.VideoCapture(video if isinstance(video, int) else str(video))
        if not capture.isOpened():
            raise ValueError(f'{video}: cannot be opened as a video; is the path right, and does OpenCV know its codec?')
        try:
            while (read := capture.read())[0]:
                yield read[1]
        finally:
            capture.release()
    else:
        yield from video


class VideoWriter:
    """An mp4 file (VP9, which browsers play), frame by frame; use it in a `with` block.

    Args:
        path: of the file.
        fps: frames per second.
    """

    def __init__(self, path: str | Path, fps: float) -> None:
        self.path = Path(path)
        self.fps = fps
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, frame: np.ndarray) -> None:
        """Add a frame (H, W, 3) uint8 RGB; all have the size of the first."""
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            codec = cv2.VideoWriter.fourcc(*'vp09')
            self._writer = cv2.VideoWriter(str(self.path), codec, self.fps, frame.shape[1::-1])
            if not self._writer.isOpened():
                raise ValueError(f'{self.path}: OpenCV cannot write VP9 video there')
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def __exit__(self, *exception: object) -> None:
        if self._writer is not None:
            self._writer.release()
