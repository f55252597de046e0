"""What the data sets of a user's own folders share: units, and where labels were looked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmmtl.io.files import read_json
from mmmtl.io.map_writer import UNITS_FILE
from mmmtl.tasks.stored import Unit

from .base import MultiTaskDataset


class FolderDataset(MultiTaskDataset):
    """Folders of images beside one folder of labels for each source.

    Label files are read as docs/datasets.md says ("What each kind of file means").

    Args:
        unit: {source: unit of its files}, for sources whose files are not in the usual unit: for depth 'mm', 'cm', 'm',
            'm/256' (KITTI) or 'm/5000' (TUM); for disparity 'px', 'px/256' (KITTI) or 'cityscapes'; for both also the
            value of one step; for masks and edges 'grey' or 'label'; for normals 'opencv' or 'opengl'. A file
            units.json in the folder, as `mmmtl.io.MapWriter` writes it, says the same.
        images: the name of the folder of the images.
    """

    unit: Mapping[str, Unit] | None = None
    images: str

    def unit_of(self, source: str) -> Unit | None:
        return self.units.get(source)

    def check_units(self) -> None:
        """Refuse units of unknown sources, and units that their tasks do not know."""
        if not isinstance(self.unit, Mapping | None):
            raise ValueError(f"unit must be {{source: unit}}, such as dict(depth='m/256'), not {self.unit!r}")
        path = self.root / UNITS_FILE
        written = read_json(path) if path.exists() else {}
        if not isinstance(written, dict) or not all(isinstance(unit, (str, int, float)) for unit in written.values()):
            raise ValueError(f'{path}: must have the form {{"name of a source": unit}}, such as {{"depth": "mm"}}')
        self.units: dict[str, Unit] = {**written, **(self.unit or {})}
        for source, unit in self.units.items():
            if unit != written.get(source, unit):
                raise ValueError(f'{path}: the unit of {source!r} is {written[source]!r}, but `unit` says {unit!r}')
            tasks = [task for task in self.tasks.values() if task.source == source]
            for task in tasks:
                task.check_unit(unit)
            if not tasks and not (self.root / source).is_dir():
                raise ValueError(
                    f'{self.root}: unit names {source!r}, but there is no such folder; the folders are '
                    f'{self.known_sources()}'
                )

    def places(self, source: str) -> list[Path]:
        return [self.root / source]

    def known_sources(self) -> list[str]:
        return sorted(path.name for path in self.root.glob('[!.]*') if path.is_dir() and path.name != self.images)
