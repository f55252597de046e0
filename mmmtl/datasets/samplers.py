"""Samplers: two for training, which number their draws, and one for whole videos. Also evenly spread samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, DefaultSampler, InfiniteSampler
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from mmmtl.registry import DATA_SAMPLERS


class Draw(int):
    """An index with the number of the draw in the whole training, counted from 0.

    A data set seeds the generator of its transforms with (seed, number), so a resumed training sees the same samples as
    an uninterrupted one, with any number of workers.

    Samplers can pass only an index through mmengine's wrappers. It therefore carries the draw number: `ConcatDataset`
    subtracts from an index and `RepeatDataset` takes a remainder, and both keep the number here. `ClassBalancedDataset`
    would lose it, but it needs categories, which dense maps lack.

    Examples:
        >>> draw = Draw(12, number=7) % 10
        >>> draw, draw.number
        (2, 7)
    """

    number: int
    seed: int

    def __new__(cls, index: int, number: int = 0, seed: int = 0) -> Draw:
        draw = super().__new__(cls, index)
        draw.number = number
        draw.seed = seed
        return draw

    def __sub__(self, other: int) -> Draw:
        return Draw(int(self) - other, self.number, self.seed)

    def __mod__(self, other: int) -> Draw:
        return Draw(int(self) % other, self.number, self.seed)


@DATA_SAMPLERS.register_module()
class EpochDrawSampler(DefaultSampler):
    """mmengine's DefaultSampler with numbered draws, for training by epochs."""

    def __iter__(self) -> Iterator[Draw]:
        first = self.epoch * self.total_size + self.rank
        for position, index in enumerate(super().__iter__()):
            yield Draw(index, first + position * self.world_size, self.seed)


@DATA_SAMPLERS.register_module()
class InfiniteDrawSampler(InfiniteSampler):
    """mmengine's InfiniteSampler with numbered draws, for training by iterations."""

    _position = 0

    def skip(self, num_samples: int) -> None:
        """Go to an absolute position of this rank's stream, when resuming."""
        super().skip(num_samples)
        self._position = num_samples

    def __iter__(self) -> Iterator[Draw]:
        # Closing super().__iter__() would end the stream, which a second iterator must continue.
        for index in self.indices:
            number = self._position * self.world_size + self.rank
            self._position += 1
            yield Draw(index, number, self.seed)


@DATA_SAMPLERS.register_module()
class VideoSampler(Sampler[int]):
    """Whole videos, frame by frame in order; each video goes to one process.

    The longest videos are dealt out first, each to the process with the fewest frames. A gap in the frame numbers ends
    a video. A process may have no video.

    Args:
        dataset: a data set with `whole_videos=True`, in any wrapper.
        seed: given by the runner, and unused.
    """

    def __init__(self, dataset: BaseDataset, seed: int | None = None) -> None:
        rank, world_size = get_dist_info()
        shares: list[list[range]] = [[] for _ in range(world_size)]
        for video in sorted(video_ranges(dataset), key=len, reverse=True):
            min(shares, key=lambda share: sum(map(len, share))).append(video)
        self.videos = sorted(shares[rank], key=lambda video: video.start)

    def __iter__(self) -> Iterator[int]:
        return (index for video in self.videos for index in video)

    def __len__(self) -> int:
        return sum(map(len, self.videos))


def evenly_spread(count: int, samples: int) -> list[int]:
    """Return at most `samples` of the indices below `count`, evenly spread.

    Examples:
        >>> evenly_spread(7, 3), evenly_spread(2, 3)
        ([0, 3, 6], [0, 1])
    """
    spread: list[int] = np.linspace(0, count - 1, min(samples, count)).round().astype(int).tolist()
    return spread


def video_ranges(dataset: BaseDataset) -> list[range]:
    """Return the indices of the frames of each video of a data set of whole videos."""
    items = [dataset.get_data_info(index) for index in range(len(dataset))]
    starts = [index for index, (a, b) in enumerate(pairwise(items), 1) if not is_next_frame(a, b)]
    return [range(start, stop) for start, stop in pairwise([0, *starts, len(items)])]


def is_next_frame(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return whether an item or sample is the frame after another in the same video."""
    return bool(after['video'] == before['video'] and after['time'] == before['time'] + 1)
