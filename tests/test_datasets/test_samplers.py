"""Numbered draws: unique over ranks and epochs, kept by workers, continued after a skip."""

from __future__ import annotations

import copy
import itertools
import pickle

import pytest
from torch.utils.data import DataLoader

from mmmtl.datasets import Draw, EpochDrawSampler, InfiniteDrawSampler

Facts = tuple[int, int, int]


class Echo:
    """A data set that gives back the facts of its draws."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, draw: Draw) -> Facts:
        return facts(draw)


def facts(draw: Draw) -> Facts:
    return int(draw), draw.number, draw.seed


def take(sampler: InfiniteDrawSampler, count: int) -> list[Facts]:
    return [facts(draw) for draw in itertools.islice(sampler, count)]


@pytest.fixture
def be_rank(monkeypatch: pytest.MonkeyPatch):
    def be(rank: int, world_size: int) -> None:
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (rank, world_size))

    return be


def test_draw_is_an_index_that_keeps_its_number() -> None:
    draw = Draw(12, 34, 56)
    assert draw == 12 and isinstance(draw, int) and [*range(20)][draw] == 12
    for kept, index in (
        (draw - 5, 7),
        (draw % 5, 2),
        (copy.deepcopy(draw), 12),
        (pickle.loads(pickle.dumps(draw)), 12),
    ):
        assert facts(kept) == (index, 34, 56)


@pytest.mark.parametrize('length', [6, 7])
def test_numbers_of_two_ranks_over_three_epochs_are_a_count(be_rank, length: int) -> None:
    numbers, indices = [], []
    for epoch in range(3):
        for rank in range(2):
            be_rank(rank, 2)
            sampler = EpochDrawSampler(range(length), seed=3)
            sampler.set_epoch(epoch)
            draws = [*sampler]
            assert {draw.seed for draw in draws} == {3}
            numbers += [draw.number for draw in draws]
            indices += [int(draw) for draw in draws if epoch == 0]
    assert sorted(numbers) == [*range(3 * (length + length % 2))]
    assert set(indices) == set(range(length))


def test_one_process_and_two_draw_the_same() -> None:
    one = [facts(draw) for draw in EpochDrawSampler(range(6), seed=1)]
    with pytest.MonkeyPatch.context() as patch:
        two = []
        for rank in range(2):
            patch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 2))
            two += [facts(draw) for draw in EpochDrawSampler(range(6), seed=1)]
    assert sorted(one) == sorted(two)


def test_epochs_of_an_uneven_split_without_round_up_are_unique(be_rank) -> None:
    numbers = []
    for rank in range(2):
        be_rank(rank, 2)
        numbers += [draw.number for draw in EpochDrawSampler(range(7), round_up=False, seed=0)]
    assert sorted(numbers) == [*range(7)]


def test_infinite_numbers_of_two_ranks_are_a_count(be_rank) -> None:
    numbers = []
    for rank in range(2):
        be_rank(rank, 2)
        draws = take(InfiniteDrawSampler(range(5), seed=0), 20)
        assert {index for index, *_ in draws} <= set(range(5))
        numbers += [number for _, number, _ in draws]
    assert sorted(numbers) == [*range(40)]


@pytest.mark.parametrize('shuffle', [True, False])
def test_skip_goes_on_as_if_never_interrupted(shuffle: bool) -> None:
    whole = take(InfiniteDrawSampler(range(7), shuffle=shuffle, seed=5), 40)
    resumed = InfiniteDrawSampler(range(7), shuffle=shuffle, seed=5)
    resumed.skip(4)
    resumed.skip(17)  # an absolute position
    assert take(resumed, 23) == whole[17:]


def test_a_second_iterator_goes_on_with_index_and_number() -> None:
    whole = take(InfiniteDrawSampler(range(7), seed=5), 20)
    sampler = InfiniteDrawSampler(range(7), seed=5)
    assert take(sampler, 8) + take(sampler, 12) == whole


def test_skip_through_a_loader_with_workers() -> None:
    def batches(skip: int, count: int, workers: int) -> list[list[Facts]]:
        sampler = InfiniteDrawSampler(Echo(), seed=5)
        sampler.skip(skip)
        loader = DataLoader(
            Echo(),
            batch_size=3,
            sampler=sampler,
            num_workers=workers,
            collate_fn=list,
            multiprocessing_context='fork' if workers else None,
        )
        return [*itertools.islice(loader, count)]

    whole = batches(0, 9, 0)
    assert [number for batch in whole for _, number, _ in batch] == [*range(27)]
    assert batches(0, 9, 2) == whole
    assert batches(4 * 3, 5, 2) == whole[4:]
