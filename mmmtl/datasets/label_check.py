"""A look at the labels of a loader before training: do any exist, and can they mean what the config says?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import numpy as np

from mmmtl.structures import Array
from mmmtl.tasks import Task, main_tasks

from .base import MultiTaskDataset
from .transforms.loading import check_kind

MAX_FILES = 1000
"""How many labels are read at most to find one that can be learnt from."""


def check_labels(dataset: Any, loader: str, *, auxiliary: bool = True) -> list[str]:
    """Return the message about tasks without a label in any data set of a loader, wrapped ones included.

    Labels may be sparse. Mostly one file of each task is read.

    Args:
        dataset: data set of the loader.
        loader: its name, for messages.
        auxiliary: whether auxiliary tasks need labels, too; nothing scores them.

    Raises:
        ValueError: all labels of a task are void, or cannot have the meaning that they are given (`Task.examine`).
    """
    parts = list(multi_task_datasets(dataset))
    items = [(part, index) for part in parts for index in range(len(part))]
    order = np.random.default_rng(0).permutation(len(items))
    missing = []
    tasks = parts[0].tasks if parts else {}
    for task in (tasks if auxiliary else main_tasks(tasks)).values():
        files = _files(task, [items[index] for index in order])
        if (first := next(files, None)) is None:
            missing.append(f'{loader}: no label of task {task.name!r}: {_places(task, parts)}')
        elif (wrong := task.examine(_read(task, *file) for file in chain([first], files))) is not None:
            raise ValueError(f'{loader}: labels of task {task.name!r}, such as {first[1]}: {wrong}')
    return missing


def multi_task_datasets(dataset: Any) -> Iterator[MultiTaskDataset]:
    """Yield the data sets inside any nesting of wrappers."""
    if isinstance(dataset, MultiTaskDataset):
        dataset.full_init()
        yield dataset
    for inner in getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]:
        if inner is not None:
            yield from multi_task_datasets(inner)


def _files(task: Task, items: list[tuple[MultiTaskDataset, int]]) -> Iterator[tuple[MultiTaskDataset, Any]]:
    """Return the data sets and references of `MAX_FILES` labels of a task."""
    references = ((part, part.get_data_info(index)['maps'].get(task.source)) for part, index in items)
    return islice((file for file in references if file[1] is not None), MAX_FILES)


def _read(task: Task, part: MultiTaskDataset, reference: Any) -> Array:
    """Return a map, checked as the pipeline checks it."""
    array = task.convert(part.read_map(task.source, reference))
    check_kind(array, task, str(reference))
    task.check(array, str(reference))
    return array


def _places(task: Task, parts: list[MultiTaskDataset]) -> str:
    """Name the folders that were searched, and those that exist instead."""
    looked = sorted({str(place) for part in parts for place in part.places(task.source)})
    known = sorted({source for part in parts for source in part.known_sources()})
    return (
        f'looked in {", ".join(looked)}; sources that exist are {known}. Correct the folder or `source` of the task, '
        'or remove the task'
    )
