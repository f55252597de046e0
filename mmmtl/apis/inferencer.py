"""Inference with a trained model on images, videos and streams."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

from mmmtl.checkpoint import load_weights
from mmmtl.config import input_size, load_config, resolve
from mmmtl.config.components import check_components
from mmmtl.io.checkpoints import load_from_local
from mmmtl.io.image_sources import ImageSource, is_one_image, list_images, load_image, name_image
from mmmtl.io.video import Video, VideoReader
from mmmtl.registry import MODELS
from mmmtl.structures import Array, StreamState
from mmmtl.visualization import Painter

from .fitting import FitSize, Fitted, check_fit, fit_image
from .model_zoo import zoo_weights
from .optimize import Optimization, optimize_for_inference, warm_up

TaskMaps = dict[str, Array]


class ImagePrediction(NamedTuple):
    """What became of one of several images.

    Args:
        name: path or URL, or 'image_<number>'.
        image: (H, W, 3) uint8 BGR at the size of the maps; None after an error.
        maps: {task: (M, H, W)}; None after an error.
        error: why it was left out; None if it was not.
    """

    name: str
    image: Array | None
    maps: TaskMaps | None
    error: str | None


class Prediction(NamedTuple):
    """A frame at the size of its maps, the maps, whether it is a key frame, and the stream's state after it."""

    image: Array
    maps: TaskMaps
    is_key: bool
    state: StreamState


class StreamPredictions(NamedTuple):
    """Predictions for a frame of each of several streams, in their order, and the state after them."""

    images: list[Array]
    maps: list[TaskMaps]
    is_key: list[bool]
    state: StreamState


class MultiTaskInferencer:
    """A model with its weights, for images (`__call__`) and for videos, cameras and streams (`stream`).

    Args:
        config: the name of a model (`list_models`), a config file, or a Config.
        weights: a checkpoint; None takes those of the named model, or keeps the initial ones, with a warning.
        device: 'cpu', 'cuda', ...; None is CUDA if available.
        size: what the model sees and how large the maps are. The model's size is that of Resize in the test pipeline.

            - 'input': images are scaled to fit into the model's size, with their aspect; maps have the images' size.
            - 'letterbox': the same, with bars, so that the model always sees its size; maps have the images' size.
            - 'model': images are stretched to the model's size, which the maps have too.
            - (height, width): the same with another size.
            - None: the model sees the images as they are; maps have their size. Without Resize 'input' and 'model' are
              the same.
        optimize: 'fuse' or 'compile' for speed (see `optimize_for_inference`).
        dtype: number type in which an optimised model computes; None keeps float32.

    Attributes:
        trained: whether `panel` leaves out the warning about untrained weights; set it after loading others.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: no such config or model; the checkpoint is unsafe, damaged or does not fit the model; the model
            cannot be compiled here; or a wrong `size`.

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
        size: FitSize = 'input',
        optimize: Optimization | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        weights = weights or zoo_weights(config)
        cfg = resolve(config if isinstance(config, Config) else load_config(config))
        self.size, self.model_size = size, input_size(cfg)
        check_fit(size, self.model_size)
        init_default_scope(cfg.get('default_scope', 'mmmtl'))
        check_components(Config({key: cfg[key] for key in ('model', 'default_scope') if key in cfg}))
        self.device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        self.model = MODELS.build(cfg.model).to(self.device)
        self.model.eval()
        self.trained = weights is not None
        if weights is not None:
            checkpoint = load_from_local(weights, map_location='cpu')
            load_weights(self.model, checkpoint, tasks=cfg.model['tasks'])
        else:
            warnings.warn('no checkpoint is given: the weights are untrained and the maps mean nothing', stacklevel=2)
        self.tasks = self.model.main_tasks
        self.optimize = optimize
        # The (streams, height, width) that a compiled model was warmed up for.
        self._warm: set[tuple[int, ...]] = set()
        if optimize is not None:
            optimize_for_inference(self.model, optimize, dtype=dtype)
        elif dtype is not None:
            raise ValueError(f"dtype={dtype} needs optimize='fuse' or 'compile'")

    def __call__(self, images: ImageSource | Iterable[ImageSource]) -> TaskMaps | list[TaskMaps | None]:
        """Return the maps {task: (M, H, W)} of one image, or of each of several.

        An image is a file, an http URL, a (H, W, 3) uint8 BGR array, or a PIL image. Several are an iterable of
        these, a folder, or a pattern such as 'photos/*.jpg', in the order of their names. Files and Pillow's images are
        turned upright. A video model treats each as the first frame of a video.

        One bad image of several does not end the others: it gives None, with a warning that says why.

        Raises:
            FileNotFoundError: no such file.
            ValueError: an unreadable image, an array of another shape or type, or several images, all of them bad.
            FloatingPointError: maps of one image are not finite.
        """
        if is_one_image(images):
            fitted = self.fit(images)  # type: ignore[arg-type]
            return self._predict([fitted], None, [name_image(images, 0)]).maps[0]
        found = [(one.name, one.maps, one.error) for one in self.predict_each(images)]
        failed = [f'{name}: {error}' for name, _, error in found if error is not None]
        if failed and len(failed) == len(found):
            raise ValueError('no image could be predicted:\n' + '\n'.join(failed))
        if failed:
            warnings.warn(f'{len(failed)} of {len(found)} images left out:\n' + '\n'.join(failed), stacklevel=2)
        return [maps for _, maps, _ in found]

    def predict_each(self, images: ImageSource | Iterable[ImageSource]) -> Iterator[ImagePrediction]:
        """Yield what became of each image of a folder, a pattern or an iterable, as soon as it is predicted.

        A bad image has an `error` and no maps. Raises a ValueError if a folder or a pattern has no image.
        """
        for number, source in enumerate(list_images(images)):
            name = name_image(source, number)
            try:
                fitted = self.fit(source)
                maps = self._predict([fitted], None, [name]).maps[0]
            except (FileNotFoundError, ValueError, FloatingPointError) as error:
                yield ImagePrediction(name, None, None, str(error).removeprefix(f'{name}: '))
                continue
            yield ImagePrediction(name, fitted.image, maps, None)

    def stream(self, video: Video) -> Iterator[tuple[Array, TaskMaps]]:
        """Yield each frame of a video with its maps, as soon as it is predicted; warn at the end if some were lost.

        With optimize='compile' every kind of frame is compiled before the first one is predicted.

        Args:
            video: what `VideoReader` reads: a file, a folder of frames, a URL, a camera number, or (H, W, 3) uint8 BGR
                frames of one size.

        Yields:
            The frame at the size of the maps, (H, W, 3) uint8 BGR, and its maps {task: (M, H, W)}.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the video cannot be opened, holds no frame, or changes its size.
        """
        state = None
        with VideoReader(video, one_size=True) as reader:
            for frame, _ in reader:
                image, maps, _, state = self.step(frame, state)
                yield image, maps
            if not reader.is_whole:
                warnings.warn(f'{reader.name}: {reader.summary()}', stacklevel=2)

    def step(self, frame: Array, state: StreamState | None = None) -> Prediction:
        """Predict the next frame of a stream, (H, W, 3) uint8 BGR.

        `state` is the one after the previous frame; None starts a stream. All frames must have one size. If
        `size` is 'letterbox', 'model' or (height, width), a change is not noticed here, since the model sees one size
        all the same: start a new stream yourself. `stream` and `StreamRunner` check it.
        """
        images, maps, is_key, state = self.step_streams([frame], state)
        return Prediction(images[0], maps[0], is_key[0], state)

    def step_streams(self, frames: Sequence[Array], state: StreamState | None = None) -> StreamPredictions:
        """Predict the next frame of each of several streams in one batch, with the results of each alone.

        The frames are (H, W, 3) uint8 BGR, and `state` has a row for each; `StreamState.select`, `cat` and `reset` let
        streams come and go. Raises a ValueError if the model would see frames of different sizes.
        """
        return self.step_fitted([self.fit(frame) for frame in frames], state)

    def fit(self, image: ImageSource) -> Fitted:
        """Read one image, and bring it to what the model sees."""
        return fit_image(load_image(image), self.size, self.model_size)

    def step_fitted(self, fitted: Sequence[Fitted], state: StreamState | None = None) -> StreamPredictions:
        """Do what `step_streams` does with frames that `fit` returned, perhaps in another thread."""
        if not fitted:
            raise ValueError('no frames are given; give one for each stream')
        sizes = sorted({one.inputs.shape[:2] for one in fitted})
        if len(sizes) != 1:
            raise ValueError(
                f"the model would see frames of the sizes {sizes}; take size='letterbox', or a batch for each size"
            )
        kind = (len(fitted), *sizes[0])
        if state is None and self.optimize == 'compile' and kind not in self._warm:
            warm_up(self.model, self._inputs(fitted[:1]).shape[-2:], batch=len(fitted))
            self._warm.add(kind)
        return self._predict(fitted, state)

    def panel(
        self, frame: Array, maps: TaskMaps, *, title: str = '', mark: bool = False, painter: Painter | None = None
    ) -> Array:
        """Return the frame and its maps with their legends, (H, W, 3) uint8 RGB; untrained weights are named in red.

        Args:
            frame: (H, W, 3) uint8 BGR.
            maps: {task: (M, H, W)}.
            title: a line above, such as `mmmtl.visualization.frame_title` returns.
            mark: whether the frame is a key frame.
            painter: `Painter(inferencer.tasks, video=True)` for all frames of a video: legends then stay in place.
        """
        image = np.ascontiguousarray(frame[..., ::-1])
        warning = '' if self.trained else 'untrained weights: the maps mean nothing'
        painter = painter or Painter(self.tasks)
        return painter.panel(image, {'': maps}, title=title, mark=mark, warning=warning)

    @torch.inference_mode()
    def _predict(
        self, fitted: Sequence[Fitted], state: StreamState | None, names: Sequence[str] | None = None
    ) -> StreamPredictions:
        inputs = self._inputs(fitted)
        logits, is_key, state = self.model.step(inputs, state)
        wanted = [one.image.shape[:2] for one in fitted]
        rows = self.model.decode(logits, inputs.shape[-2:], [one.shown for one in fitted], wanted, names)
        maps = [{name: row.get(name).cpu().numpy() for name in self.tasks} for row in rows]
        return StreamPredictions([one.image for one in fitted], maps, is_key.tolist(), state)

    def _inputs(self, fitted: Sequence[Fitted]) -> Tensor:
        """Return images of one size as a batch (N, 3, H, W), normalised and padded."""
        pixels = [torch.from_numpy(np.ascontiguousarray(one.inputs.transpose(2, 0, 1))) for one in fitted]
        inputs: Tensor = self.model.data_preprocessor({'inputs': pixels})['inputs']
        return inputs
