"""Frames that are images already: of a folder, or in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mmmtl.io.files import is_foreign
from mmmtl.io.image_sources import load_image
from mmmtl.io.images import IMAGE_SUFFIXES, read_image
from mmmtl.structures import Array

from .backend import DEFAULT_FPS, Decoder, VideoFrame


class FolderDecoder(Decoder):
    """The images of a folder, sorted by the numbers in their names; unreadable ones are left out."""

    fps = DEFAULT_FPS

    def __init__(self, folder: Path, *, max_pixels: int) -> None:
        super().__init__()
        self._max_pixels = max_pixels
        paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and not is_foreign(path)]
        if not paths:
            raise ValueError(f'{folder}: no frame in this folder; frames are files {", ".join(IMAGE_SUFFIXES)}')
        self._paths = sorted(paths, key=_natural_order)
        self.declared = len(paths)

    def frames(self) -> Iterator[VideoFrame]:
        for number, path in enumerate(self._paths):
            try:
                image = read_image(path, max_pixels=self._max_pixels)
            except (ValueError, OSError) as error:
                self.skip(str(error))
                continue
            yield VideoFrame(image, number / DEFAULT_FPS)


class ArrayDecoder(Decoder):
    """Frames (H, W, 3) uint8 BGR in memory, or what else `load_image` makes of one."""

    fps = DEFAULT_FPS

    def __init__(self, images: Iterable[Array]) -> None:
        super().__init__()
        self._images = images

    def frames(self) -> Iterator[VideoFrame]:
        for number, image in enumerate(self._images):
            yield VideoFrame(load_image(image), number / DEFAULT_FPS)


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Return a sort key that places frame_9 before frame_10."""
    return [(int(part), '') if part.isdecimal() else (-1, part) for part in re.split(r'(\d+)', path.name)]
