"""The items of a data set: labelled frames alone, clips that end in one, or all frames of whole videos."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise, starmap
from typing import Any

from .clip import Clip
from .frames import Frame, FrameIndex
from .samplers import is_next_frame

Item = dict[str, Any]


class Items(ABC):
    """A kind of item that a data set makes of its labelled frames.

    An item goes to the pipeline with `video` and `time` of its frame, `frames` (the references of its images) and
    `maps` ({source: reference}).
    """

    reads_neighbours = False
    """Whether an item, or a stream of items, has frames before its last."""

    @abstractmethod
    def make(self, labelled: Sequence[Frame], index: FrameIndex) -> list[Item]:
        """Return the items of labelled frames, all of which have an image."""

    def complete(self, item: Item, index: FrameIndex) -> None:
        """Draw what varies from use to use, from `item['rng']`; here nothing."""


class Stills(Items):
    """Labelled frames, each alone.

    Args:
        clip: keep only frames that have such a clip; None keeps all.
    """

    def __init__(self, clip: Clip | None) -> None:
        self.clip = clip

    def make(self, labelled: Sequence[Frame], index: FrameIndex) -> list[Item]:
        kept = labelled if self.clip is None else frames_with_clips(labelled, self.clip, index)
        return [single_item(frame) for frame in kept]


class Clips(Items):
    """Clips that end in a labelled frame.

    Their items also have `offset`, and `slots` as `Clip.slots` returns them.
    """

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.reads_neighbours = clip.interval > 1 and not clip.still

    def make(self, labelled: Sequence[Frame], index: FrameIndex) -> list[Item]:
        """Return an item for each labelled frame and offset; where offsets are drawn, one for each frame."""
        offsets = self.clip.possible_offsets
        groups = [offsets] if self.clip.offsets == 'random' else [[offset] for offset in offsets]
        frames = frames_with_clips(labelled, self.clip, index)
        return [dict(single_item(frame), offsets=group) for frame in frames for group in groups]

    def complete(self, item: Item, index: FrameIndex) -> None:
        """Draw the offset and whether the clip has a history, and find the images."""
        rng, offsets, key_frames = item['rng'], item.pop('offsets'), self.clip.key_frames
        if key_frames is not None:
            offsets = offsets[:1] if rng.random() < key_frames else offsets[1:]
        offset = offsets[int(rng.integers(len(offsets)))] if len(offsets) > 1 else offsets[0]
        slots = self.clip.slots(offset)
        if self.clip.no_history and rng.random() < self.clip.no_history:
            slots = (slots[0], 0, 0)
        item.update(offset=offset, slots=slots)
        if not self.clip.still:
            item['frames'] = find_clip(item['video'], item['time'], offset, slots, self.clip, index)


class WholeVideos(Items):
    """All frames of each labelled video, in order, each alone with the labels that it has."""

    reads_neighbours = True

    def make(self, labelled: Sequence[Frame], index: FrameIndex) -> list[Item]:
        """Return each video from the first labelled frame to the last, extended both ways until a frame is missing.

        Raises:
            ValueError: no frame follows another.
        """
        videos: dict[str, dict[int, Frame]] = {}
        for frame in labelled:
            videos.setdefault(frame.video, {})[frame.time] = frame
        items = []
        for video, known in videos.items():
            first, last = min(known), max(known)
            while index.find(video, first - 1) is not None:
                first -= 1
            while index.find(video, last + 1) is not None:
                last += 1
            frames = (known.get(time) or Frame(video, time, index.find(video, time)) for time in range(first, last + 1))
            items += [single_item(frame) for frame in frames if frame.image is not None]
        if not any(starmap(is_next_frame, pairwise(items))):
            raise ValueError(f'{index.name}: all videos are single frames, so there is nothing to stream (--stream)')
        return items


def choose_items(clip: Clip | None, *, whole_videos: bool) -> Items:
    """Return the kind of items that a data set's arguments ask for."""
    if whole_videos:
        if clip is not None and clip.still:
            raise ValueError('a data set of stills (clip.still) has no whole videos')
        return WholeVideos()
    return Stills(clip) if clip is None or clip.single else Clips(clip)


def single_item(frame: Frame) -> Item:
    """Return the item of a frame alone."""
    return dict(video=frame.video, time=frame.time, maps=frame.maps, frames=[frame.image])


def frames_with_clips(labelled: Sequence[Frame], clip: Clip, index: FrameIndex) -> list[Frame]:
    """Return the labelled frames that have a clip at every offset."""
    if clip.still:
        return list(labelled)
    # A test at some offsets scores the same frames as a test at all.
    offsets = range(clip.interval) if clip.missing == 'skip' else clip.possible_offsets
    return [
        frame
        for frame in labelled
        if all(find_clip(frame.video, frame.time, offset, clip.slots(offset), clip, index) for offset in offsets)
    ]


def find_clip(
    video: str, now: int, offset: int, slots: tuple[int | None, int, int], clip: Clip, index: FrameIndex
) -> list[Any] | None:
    """Return the references of a clip's three images; if one is missing, None or an error, as `clip.missing` says."""
    references = []
    for slot in slots:
        # An empty slot holds the current frame, which the model ignores.
        wanted = now + (slot or 0)
        times = range(wanted, now + 1) if clip.missing == 'repeat' else (wanted,)
        found = next((ref for time in times if (ref := index.find(video, time)) is not None), None)
        if found is None:
            if clip.missing == 'skip':
                return None
            raise FileNotFoundError(
                f'{index.describe(video, wanted)} is missing; the clip of labelled frame {now} with offset {offset} '
                "needs it. Set clip.missing to 'repeat' or 'skip', or lower key_frame_interval"
            )
        references.append(found)
    return references
