"""The base of every data set: labelled images, labelled frames of videos with their clips, or whole videos."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset

from mmmtl.tasks import build_tasks

from .clip import Clip
from .samplers import Draw


class MultiTaskDataset(BaseDataset):
    """Labelled images or, with `clip`, clips that end in a labelled frame.

    A subclass says which frames are labelled (`load_frames`), where the picture of a frame is (`find_frame`), and how
    its files are read (`read_image`, `read_map`); the rest is here. Readers deliver BGR uint8 pictures, and
    maps of labels (0 to C - 1, 255 = ignore), metres or pixels of disparity (0 = none), or unit vectors (zero = none).

    Items go to the pipeline with: `frames`, one reference per picture; `maps`, {source: reference}, a missing label
    being a missing key; `tasks`; `read_image`, `read_map`; and `rng`, from which every transform draws. Clips also have
    `offset`, `slots` (times relative to the current frame) and `valid_slots`.

    Training needs the samplers of `mmmtl.datasets.samplers`: an index without a number (`Draw`) gives one item the same
    augmentation in every epoch.

    Args:
        data_root: folder of the data set.
        step: use every `step`-th labelled frame of each video.
        clip: arguments of `Clip`; None for single images.
        whole_videos: the items are all frames of the videos that have a labelled one, in order, each alone and with
            what labels it has; of `clip` counts only whether a label without a picture is skipped. For
            `StreamTestLoop`, which sets it.
        exact_flow: whole videos come with the motion between their frames, where the data set knows it (`read_flow`).
        pipeline: transforms.
        metainfo: holds `tasks`, put there by `resolve`; kept as plain dicts.
        indices: use only the first so many items, or those listed.
        test_mode: mmengine's flag; an item that cannot be loaded is an error with and without it.
        lazy_init: do not read the file lists yet.

    Raises:
        ValueError: no tasks, no labelled frame, a video that is shorter than a clip, or whole videos of stills.
        FileNotFoundError: a labelled frame or, where `clip.missing` is 'error', another frame of a clip is missing.
    """

    def __init__(
        self,
        data_root: str = '',
        *,
        step: int = 1,
        clip: dict[str, Any] | None = None,
        whole_videos: bool = False,
        exact_flow: bool = False,
        pipeline: Sequence[dict] = (),
        metainfo: Mapping[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        # mmengine carries the metainfo on into checkpoints, where a ConfigDict bars the safe loader.
        plain = ConfigDict(metainfo or {}).to_dict()
        self.tasks = build_tasks(plain.get('tasks'), f'data set {type(self).__name__}')
        if step < 1:
            raise ValueError(f'step must be at least 1, not {step}')
        self.step = step
        self.clip = None if clip is None else Clip(**clip)
        self.whole_videos = whole_videos
        self.exact_flow = exact_flow
        self.skip_missing = self.clip is not None and self.clip.missing == 'skip'
        if whole_videos and self.clip is not None:
            if self.clip.still:
                raise ValueError(f'{data_root}: a data set of stills (clip.still) has no whole videos')
            self.clip = None
        super().__init__(
            data_root=str(data_root),
            metainfo=plain,
            pipeline=list(pipeline),
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )

    @abstractmethod
    def load_frames(self) -> list[dict[str, Any]]:
        """The labelled frames: dicts of `video`, `time` (frame number) and `maps` ({source: reference})."""

    @abstractmethod
    def find_frame(self, video: str, time: int) -> Any | None:
        """Reference of a frame's picture, or None where there is no such frame."""

    @abstractmethod
    def read_image(self, reference: Any) -> np.ndarray:
        """The picture, (H, W, 3) uint8 BGR."""

    @abstractmethod
    def read_map(self, source: str, reference: Any) -> np.ndarray:
        """A label map, (H, W) or (H, W, 3)."""

    def video_length(self, video: str) -> int | None:
        """Number of frames of a video, None where unknown."""
        return None

    def read_flow(self, video: str, time: int) -> tuple[np.ndarray, np.ndarray] | None:
        """The exact motion from frame `time` to the next, None where the data set does not know it.

        Returns:
            (H, W, 2) float32: what is seen at pixel (x, y) is at (x, y) + flow[y, x] in the next frame, whether it is
            visible there or not; and (H, W) bool, where there is a motion.
        """
        return None

    def frame_name(self, video: str, time: int) -> str:
        """Where the picture of a frame should be, for messages."""
        return f'{self.data_root or type(self).__name__}: frame {time} of video {video!r}'

    def load_data_list(self) -> list[dict[str, Any]]:
        """One item per labelled frame, or per labelled frame and offset."""
        sources = {task.source for task in self.tasks.values()}
        frames = []
        labelled: Counter[str] = Counter()
        for frame in self.load_frames():
            maps = {source: ref for source, ref in frame['maps'].items() if source in sources}
            if not maps:
                continue
            if labelled[frame['video']] % self.step == 0:
                frames.append(dict(frame, maps=maps))
            labelled[frame['video']] += 1
        if not frames:
            raise ValueError(
                f'{type(self).__name__} found no frame with a label of {sorted(sources)} in {self.data_root!r}; check '
                'data_root, split and the names of the tasks (or their `source`)'
            )
        frames = [dict(frame, frames=[found]) for frame in frames if (found := self._picture(frame)) is not None]
        if self.whole_videos:
            return self._all_frames(frames)
        if self.clip is None:
            return frames
        if not self.clip.still:
            if self.clip.missing == 'error':
                for video in sorted({frame['video'] for frame in frames}):
                    self._check_length(video, self.clip.length)
            frames = [frame for frame in frames if self._has_clips(frame)]
        if not frames:
            raise ValueError(
                f"{self.data_root}: every clip lacks a frame, and clip.missing is 'skip'; set it to 'repeat', or lower "
                'key_frame_interval'
            )
        if self.clip.single:
            return frames
        return [dict(frame, offsets=offsets) for frame in frames for offsets in self._groups_of_offsets()]

    def prepare_data(self, idx: int) -> Any:
        """The item through the pipeline, with a random generator that depends on seed and draw alone."""
        results = self.get_data_info(int(idx))
        draw = idx if isinstance(idx, Draw) else Draw(idx, number=results['sample_idx'])
        rng = np.random.default_rng((draw.seed, draw.number))
        results.update(rng=rng, tasks=self.tasks, read_image=self.read_image, read_map=self.read_map)
        if self.clip is not None and not self.clip.single:
            choices = results.pop('offsets')
            offset = choices[int(rng.integers(len(choices)))] if len(choices) > 1 else choices[0]
            slots = self.clip.slots(offset)
            valid = [slot is not None for slot in slots]
            if self.clip.no_history:
                valid[1] &= bool(rng.random() >= self.clip.no_history)
            results.update(offset=offset, slots=slots, valid_slots=tuple(valid))
            if not self.clip.still:
                results['frames'] = self._clip_frames(results, offset)
        if self.exact_flow and self.find_frame(results['video'], before := results['time'] - 1) is not None:
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

    def _picture(self, frame: dict[str, Any]) -> Any | None:
        """Reference of a labelled frame's picture; to lack one is an error, or None where frames are skipped for it."""
        found = self.find_frame(frame['video'], frame['time'])
        if found is not None or self.skip_missing:
            return found
        raise FileNotFoundError(
            f'{self.frame_name(frame["video"], frame["time"])} is missing, but there is a label for it: '
            f'{next(iter(frame["maps"].values()))}; add the frame or remove the label'
        )

    def _all_frames(self, labelled: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Items of all frames around and between the labelled ones, video by video."""
        videos: dict[str, dict[int, dict[str, Any]]] = {}
        for frame in labelled:
            videos.setdefault(frame['video'], {})[frame['time']] = frame
        items = []
        for video, known in videos.items():
            first, last = min(known), max(known)
            while self.find_frame(video, first - 1) is not None:
                first -= 1
            while self.find_frame(video, last + 1) is not None:
                last += 1
            for time in range(first, last + 1):
                if time in known:
                    items.append(known[time])
                elif (found := self.find_frame(video, time)) is not None:
                    items.append(dict(video=video, time=time, maps={}, frames=[found]))
        return items

    def _groups_of_offsets(self) -> list[list[int]]:
        """For each item to be made of a labelled frame, the offsets to draw from."""
        assert self.clip is not None
        offsets = self.clip.possible_offsets
        return [offsets] if self.clip.offsets == 'random' else [[offset] for offset in offsets]

    def _has_clips(self, frame: dict[str, Any]) -> bool:
        """Whether a labelled frame has a clip at every offset."""
        assert self.clip is not None
        # A test at some offsets scores the frames of a test at all of them.
        offsets = range(self.clip.interval) if self.clip.missing == 'skip' else self.clip.possible_offsets
        return all(self._clip_frames(frame, offset) is not None for offset in offsets)

    def _clip_frames(self, frame: dict[str, Any], offset: int) -> list[Any] | None:
        """References of the three pictures, None where one is missing and clips are skipped for it."""
        assert self.clip is not None
        video, now = frame['video'], frame['time']
        references = []
        for slot in self.clip.slots(offset):
            # An empty slot holds the current frame; the model does not look at it.
            wanted = now + (slot or 0)
            times = range(wanted, now + 1) if self.clip.missing == 'repeat' else (wanted,)
            found = next((ref for time in times if (ref := self.find_frame(video, time)) is not None), None)
            if found is None:
                if self.clip.missing == 'skip':
                    return None
                raise FileNotFoundError(
                    f'{self.frame_name(video, wanted)} is missing; the clip of labelled frame {now} of video {video!r} '
                    f"with offset {offset} needs it. Set clip.missing to 'repeat' or 'skip' to go on without."
                )
            references.append(found)
        return references

    def _check_length(self, video: str, needed: int) -> None:
        length = self.video_length(video)
        if length is not None and length < needed:
            raise ValueError(
                f'{self.data_root or type(self).__name__}: video {video!r} has {length} frames, a clip needs {needed}; '
                'lower key_frame_interval (clip.interval) or leave out the video'
            )
