"""The best and the worst samples of a test, with pictures: written by a hook, read by the report."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmmtl.io import read_json, write_jpeg, write_text
from mmmtl.io.files import read_bytes
from mmmtl.structures import Array

MAX_PICTURE = 1 << 25
"""The limit of a picture in a report, in bytes."""

JPEG = b'\xff\xd8\xff'


@dataclass(frozen=True)
class Sample:
    """A sample that a report shows.

    Args:
        task: the task whose prediction it shows.
        kind: 'best' or 'worst'.
        title: text that names it.
        score: its own value of the metric.
        metric: `<task>/<metric>`.
        picture: file name in the folder.
    """

    task: str
    kind: str
    title: str
    score: float
    metric: str
    picture: str


class SampleFolder:
    """A folder `samples` with JPEG files and `samples.json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = folder / 'samples.json'

    def write(self, samples: list[tuple[Sample, Array]]) -> None:
        """Write samples with their pictures (H, W, 3) uint8 RGB; those of an earlier test are replaced."""
        if self.index.is_file():
            for old in self.read():
                (self.folder / old.picture).unlink(missing_ok=True)
        for sample, picture in samples:
            write_jpeg(self.folder / sample.picture, picture[..., ::-1])
        write_text(self.index, json.dumps([asdict(sample) for sample, _ in samples], indent=2) + '\n')

    def read(self) -> list[Sample]:
        """Return the samples of the folder.

        Raises:
            FileNotFoundError: there is no index.
            ValueError: its entries are not samples, or name a picture elsewhere.
        """
        entries = read_json(self.index)
        if not isinstance(entries, list):
            raise ValueError(f'{self.index}: must hold a list of samples; test again with tools/test.py --report')
        return [self._sample(entry) for entry in entries]

    def picture(self, sample: Sample) -> bytes:
        """Return the JPEG of a sample.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it is not a JPEG file.
        """
        path = self.folder / sample.picture
        data = read_bytes(path, max_bytes=MAX_PICTURE)
        if not data.startswith(JPEG):
            raise ValueError(f'{path}: not a JPEG file; test again with tools/test.py --report')
        return data

    def _sample(self, entry: Any) -> Sample:
        kinds: dict[str, Any] = dict(task=str, kind=str, title=str, score=(int, float), metric=str, picture=str)
        valid = isinstance(entry, dict) and entry.keys() == kinds.keys()
        if not valid or not all(isinstance(entry[key], kind) for key, kind in kinds.items()):
            raise ValueError(f'{self.index}: an entry is not {sorted(kinds)}; test again with tools/test.py --report')
        sample = Sample(**entry)
        if Path(sample.picture).name != sample.picture or not sample.picture.endswith('.jpg'):
            raise ValueError(f'{self.index}: the picture {sample.picture!r} is not a JPEG of this folder; correct it')
        if sample.kind not in ('best', 'worst') or not math.isfinite(sample.score):
            raise ValueError(
                f'{self.index}: {sample.picture} has the kind {sample.kind!r} or a score that is not a number'
            )
        return sample
