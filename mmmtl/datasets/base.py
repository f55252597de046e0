"""The base of every data set: frames, items, and numbered random draws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset
from typing_extensions import dataclass_transform

from mmmtl.io.arrays import read_npy
from mmmtl.io.headers import MAX_PIXELS
from mmmtl.io.images import Orientation, read_image
from mmmtl.io.labels import read_raw
from mmmtl.registry import TRANSFORMS
from mmmtl.structures import Array
from mmmtl.tasks import Task, build_tasks
from mmmtl.tasks.stored import Unit

from .clip import Clip
from .frames import Frame, FrameIndex, check_step
from .items import choose_items
from .samplers import Draw
from .transforms.loading import check_order


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
@dataclass(kw_only=True, eq=False, repr=False)
class MultiTaskDataset(BaseDataset, ABC):
    """Labelled images or, with `clip`, clips that end in a labelled frame.

    A subclass lists its frames (`load_frames`) and, if its files are unusual, reads them (`read_image`, `read_map`).
    Its own arguments are annotated class attributes, as in a dataclass.

    Items (see `items.py`) go to the pipeline with `tasks`, `read_image`, `read_map`, and `rng`, from which every
    transform draws. Training needs the samplers of `mmmtl.datasets.samplers`: a plain index, which is not a `Draw`,
    gives an item the same augmentation in every epoch.

    Args:
        data_root: folder of the data set.
        step: use every `step`-th labelled frame of each video.
        clip: arguments of `Clip`; None for single images.
        whole_videos: make an item of every frame, in order, of each video with a labelled frame. Of `clip` only
            `missing='skip'` applies. `StreamTestLoop` sets it.
        exact_flow: add the motion from the frame before to each item, where the data set knows it (`read_flow`).
        orientation: what to do with an image that its EXIF orientation turns: 'refuse' it, because its labels may fit
            either way, 'apply' the orientation, or 'ignore' it.
        max_pixels: refuse larger image files before they are decoded.
        pipeline: transforms.
        metainfo: holds `tasks`, put there by `resolve`.
        indices: use only the first so many items, or those listed.
        test_mode: mmengine's flag; it changes nothing, and an item that cannot be loaded is always an error.
        lazy_init: do not read the file lists yet.

    Raises:
        ValueError: no tasks, no labelled frame, one frame with two images, or whole videos of stills.
        FileNotFoundError: a labelled frame or, where `clip.missing` is 'error', another frame of a clip is missing.
    """

    data_root: str | Path = field(default='', kw_only=False)
    step: int = 1
    clip: Mapping[str, Any] | None = None
    whole_videos: bool = False
    exact_flow: bool = False
    orientation: Orientation = 'refuse'
    max_pixels: int = MAX_PIXELS
    pipeline: Any = ()
    metainfo: Mapping[str, Any] | None = None
    indices: int | Sequence[int] | None = None
    test_mode: bool = False
    lazy_init: bool = False

    def __init_subclass__(cls) -> None:
        """Turn the annotated attributes of a subclass into arguments."""
        dataclass(kw_only=True, eq=False, repr=False)(cls)

    def __post_init__(self) -> None:
        # mmengine writes the metainfo into checkpoints, and the safe loader refuses a ConfigDict.
        self.metainfo = metainfo = ConfigDict(self.metainfo or {}).to_dict()
        self.tasks: dict[str, Task] = build_tasks(metainfo.get('tasks'), f'data set {type(self).__name__}')
        check_step('step', self.step)
        clip = None if self.clip is None else Clip(**self.clip)
        self.items = choose_items(clip, whole_videos=self.whole_videos)
        self.skip_missing = clip is not None and clip.missing == 'skip'
        self.root = Path(self.data_root)
        # Ours, also where no runner or tool has set the default scope.
        pipeline = [TRANSFORMS.build(one) if isinstance(one, Mapping) else one for one in self.pipeline]
        check_order(pipeline)
        super().__init__(
            data_root=str(self.data_root),
            metainfo=metainfo,
            pipeline=pipeline,
            indices=self.indices,
            test_mode=self.test_mode,
            lazy_init=self.lazy_init,
        )

    @abstractmethod
    def load_frames(self) -> Iterable[Frame]:
        """Return every frame once; clips and whole videos also need the frames without a label."""

    def read_image(self, reference: Any) -> Array:
        """Return an image, (H, W, 3) uint8 BGR; by default from an image file."""
        return read_image(reference, orientation=self.orientation, max_pixels=self.max_pixels)

    def read_map(self, source: str, reference: Any) -> Array:
        """Return a map, (H, W) or (H, W, 3); by default from an image or .npy file, as the task interprets it.

        Maps hold labels (0 to C - 1, 255 = ignore), metres or pixels of disparity (0 = none), or unit vectors (zero =
        none).
        """
        tasks = [task for task in self.tasks.values() if task.source == source]
        if len({type(task).interpret for task in tasks}) > 1:
            raise ValueError(
                f'{reference}: read by tasks of different kinds, {[task.name for task in tasks]}; give each its own '
                'folder of labels and `source`, or, if one derives its labels from those of the other, the same '
                '`interpret`, as in `interpret = DepthEstimation.interpret`'
            )
        npy = Path(reference).suffix.lower() == '.npy'
        stored = read_npy(reference) if npy else read_raw(reference, max_pixels=self.max_pixels)
        return tasks[0].interpret(stored, str(reference), self.unit_of(source))

    def unit_of(self, source: str) -> Unit | None:
        """Return the unit of the files of a source; None for the usual one."""
        return None

    def places(self, source: str) -> list[Path]:
        """Return, for messages, the folders that are searched for labels of a source."""
        return [self.root]

    def known_sources(self) -> list[str]:
        """Return the sources that the data set could have used, for messages."""
        return sorted(self.found)

    def read_flow(self, video: str, time: int) -> tuple[Array, Array] | None:
        """Return the exact motion from frame `time` to the next, or None if the data set does not know it.

        Returns:
            (H, W, 2) float32: the point at pixel (x, y) moves to (x, y) + flow[y, x], where it may be hidden; and (H,
                W) bool: whether its motion is known.
        """
        return None

    @property
    def sources(self) -> set[str]:
        """The sources of the maps that the tasks use."""
        return {task.source for task in self.tasks.values()}

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return the items and keep the index of all frames."""
        sources = self.sources
        self.frames = FrameIndex(str(self.data_root) or type(self).__name__)
        labelled = []
        count: Counter[str] = Counter()
        self.found: set[str] = set()
        for frame in self.load_frames():
            self.frames.add(frame)
            self.found |= frame.maps.keys()
            maps = {source: ref for source, ref in frame.maps.items() if source in sources}
            if not maps:
                continue
            if count[frame.video] % self.step == 0:
                labelled.append(replace(frame, maps=maps))
            count[frame.video] += 1
        if not labelled:
            raise ValueError(
                f'{type(self).__name__} found no frame with a label of {sorted(sources)} in {self.data_root!r}; check '
                f'data_root, split and the names of the tasks (or their `source`): sources that exist are '
                f'{self.known_sources()}'
            )
        if self.step > 1 and self.frames.stills:
            raise ValueError(f'{self.data_root}: step={self.step} is for videos, but these are images; remove it')
        if self.items.reads_neighbours and not self.skip_missing and self.frames.apart:
            raise ValueError(
                f'{self.data_root}: no frame has a predecessor, so clips would be copies of single frames; add the '
                'frames between, or set clip=dict(still=True) and add StillToClip'
            )
        items = self.items.make([frame for frame in labelled if self._has_image(frame)], self.frames)
        if not items:
            raise ValueError(
                f"{self.data_root}: every clip lacks a frame, and clip.missing is 'skip'; set it to 'repeat', or lower "
                'key_frame_interval; for images that do not form a video, set clip=dict(still=True) and add StillToClip'
            )
        return items

    def prepare_data(self, idx: int) -> Any:
        """Return an item after the pipeline; its random generator depends only on the seed and the draw."""
        results = self.get_data_info(int(idx))
        draw = idx if isinstance(idx, Draw) else Draw(idx, number=results['sample_idx'])
        rng = np.random.default_rng((draw.seed, draw.number))
        results.update(rng=rng, tasks=self.tasks, read_image=self.read_image, read_map=self.read_map)
        self.items.complete(results, self.frames)
        if self.exact_flow and self.frames.find(results['video'], before := results['time'] - 1) is not None:
            try:
                results['flow'] = self.read_flow(results['video'], before)
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    f"{error}. Or estimate it: dict(type='TemporalConsistency', exact_flow=False) in test_evaluator"
                ) from None
        return self.pipeline(results)

    def __getitem__(self, idx: int) -> Any:
        if not self._fully_initialized:
            self.full_init()
        return self.prepare_data(idx)

    def _has_image(self, frame: Frame) -> bool:
        """Return whether a labelled frame has an image; refuse a missing one unless `clip.missing` is 'skip'."""
        if frame.image is None and not self.skip_missing:
            raise FileNotFoundError(
                f'{self.frames.describe(frame.video, frame.time)} is missing, but there is a label for it: '
                f'{next(iter(frame.maps.values()))}; add the frame or remove the label'
            )
        return frame.image is not None
