"""A writer of predicted maps, in the files that data sets read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from threading import Lock

from mmmtl.structures import Array
from mmmtl.tasks import Task

from .arrays import write_npy
from .files import read_json
from .images import write_jpeg, write_png
from .outputs import check_new_folder, write_text

UNITS_FILE = 'units.json'
VIDEOS_FILE = 'videos.json'


class MapWriter:
    """A writer of images and their maps, for use in a `with` block; the folder is a `VideoFolder` or an `ImageFolder`.

    ```
    frames/{video}/{t:06d}.jpg, videos.json       a VideoFolder
    images/{name}.png                             with `stills`, an ImageFolder
    {source}/{video}/{t:06d}.png                  one folder per task, or {source}/{name}.png
    units.json                                    {source: unit}, which both data sets read
    ```

    Each file is whole. What was written in a `with` block can be read at any time, also after a kill; `length` in
    videos.json, which the data sets do not read, is right when the block is left. Threads may share a writer.

    Args:
        folder: a new or an empty one.
        tasks: {name: task}. A task's folder is its `source`, or its name if another task has the same source.
        stills: write images by their names, without numbers.
        npy: write .npy files, which hold every number, in place of PNGs.
        append: add to what an earlier writer left in the folder.

    Raises:
        ValueError: two tasks with one folder, or one with that of the images; or the folder holds something already,
            when the block begins, and not `append`.
    """

    def __init__(
        self,
        folder: str | Path,
        tasks: Mapping[str, Task],
        *,
        stills: bool = False,
        npy: bool = False,
        append: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.tasks = tasks
        self.stills = stills
        self.npy = npy
        self.append = append
        self.lengths: Counter[str] = Counter()
        """Number of frames of each video so far."""
        self._lists, self._is_open = Lock(), False
        sources = Counter(task.source for task in tasks.values())
        self.folders = {n: task.source if sources[task.source] == 1 else n for n, task in tasks.items()}
        images = 'images' if stills else 'frames'
        if images in self.folders.values():
            raise ValueError(f'{folder}: a task whose maps go to {images!r}, where the images go; rename it')
        for place, count in Counter(self.folders.values()).items():
            if count > 1:
                both = [name for name, found in self.folders.items() if found == place]
                raise ValueError(f'{folder}: the maps of the tasks {both} would all go to {place!r}; rename {place!r}')

    def __enter__(self) -> MapWriter:
        if not self.append:
            check_new_folder(self.folder)
        elif (path := self.folder / VIDEOS_FILE).exists():
            self.lengths.update({name: entry['length'] for name, entry in read_json(path).items()})
        self._is_open = True
        return self

    def write(self, name: str, time: int, image: Array, maps: Mapping[str, Array]) -> None:
        """Write an image and its maps.

        Args:
            name: name of the video, or of the still; it may have folders.
            time: number of the frame; of a still it has no meaning.
            image: (H, W, 3) uint8 BGR.
            maps: {task: (M, H, W)}, predicted.

        Raises:
            ValueError: a name that leads out of the folder, a map whose size is not that of the image, or values that
                its task cannot predict or a PNG cannot hold.
        """
        parts = PurePosixPath(name).parts
        if not parts or PurePosixPath(name).is_absolute() or '..' in parts or '\\' in name:
            raise ValueError(f'{name!r}: cannot name files inside {self.folder}')
        place = name if self.stills else f'{name}/{time:06d}'
        # Nothing is written unless all maps are right.
        stored: dict[Path, tuple[Array, Array | None]] = {}
        for task_name, array in maps.items():
            task, path = self.tasks[task_name], self.folder / self.folders[task_name] / place
            if array.shape[1:] != image.shape[:2]:
                raise ValueError(
                    f'{place}: the map of task {task_name!r} has {array.shape[1:]} pixels, the image {image.shape[:2]}'
                )
            exported = task.export(array)
            stored[path] = exported, None if self.npy else task.encode(exported)
        for path, (exported, levels) in stored.items():
            if levels is None:
                write_npy(path.with_name(f'{path.name}.npy'), exported)
            else:
                # RGB to OpenCV's order.
                write_png(path.with_name(f'{path.name}.png'), levels if levels.ndim == 2 else levels[..., ::-1])
        if self.stills:
            write_png(self.folder / 'images' / f'{name}.png', image)
        else:
            write_jpeg(self.folder / 'frames' / f'{place}.jpg', image)
        with self._lists:
            self.lengths[name] += 1
            # Outside of a block, other processes may write to the folder, too.
            if self._is_open and self.lengths[name] == 1 and not (self.stills and len(self.lengths) > 1):
                self.finish(self.lengths)

    def __exit__(self, *exception: object) -> None:
        if self.lengths:
            self.finish(self.lengths)

    def finish(self, lengths: Mapping[str, int]) -> None:
        """Write the lists of videos and of units; `lengths` are those of all writers of the folder."""
        if not self.stills:
            videos = {name: {'length': length} for name, length in sorted(lengths.items()) if length}
            write_text(self.folder / VIDEOS_FILE, json.dumps(videos, indent=1) + '\n')
        units = {
            self.folders[name]: task.stored_unit
            for name, task in self.tasks.items()
            if not self.npy and task.stored_unit is not None
        }
        write_text(self.folder / UNITS_FILE, json.dumps(units, indent=1) + '\n')
