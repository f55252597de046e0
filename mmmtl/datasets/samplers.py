"""Samplers that number their draws, so that random augmentation is a function of seed and draw."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.dataset import DefaultSampler, InfiniteSampler

from mmmtl.registry import DATA_SAMPLERS


class Draw(int):
    """An index that knows which draw of the whole training it is, counted from 0.

    A data set seeds the generator of its transforms with (seed, number), so a resumed training sees what an
    uninterrupted one would have seen, whatever the number of workers. The arithmetic of mmengine's data set wrappers
    keeps the number.
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
        # Not through super().__iter__(): closing that iterator would end the stream, which a second one goes on with.
        for index in self.indices:
            number = self._position * self.world_size + self.rank
            self._position += 1
            yield Draw(index, number, self.seed)
