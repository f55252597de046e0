"""Inputs of `mmmtl predict`: which are images, which are videos, and where their results go."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmmtl.io import distinct_names, source_name
from mmmtl.io.image_sources import find_images, is_image_name, is_one_image
from mmmtl.io.images import UNREAD_SUFFIXES
from mmmtl.io.source_names import NUMBERED, is_address, is_pipeline


class Input(NamedTuple):
    """An image or a video.

    Args:
        source: what `MultiTaskInferencer` or `VideoReader` takes.
        name: name of its results, distinct from all others.
        is_video: whether its frames are those of one video.
    """

    source: str
    name: str
    is_video: bool

    def __str__(self) -> str:
        return source_name(self.source)


def find_inputs(given: Sequence[str], *, folders_are_videos: bool) -> tuple[list[Input], list[Path]]:
    """Return every image and video that the arguments stand for, and the files beside them that are neither.

    Raises:
        ValueError: a path that does not exist, or a folder or a pattern without an image.
    """
    sources: list[tuple[str, bool]] = []
    others: list[Path] = []
    check_exist(given)
    for one in given:
        if is_video(one, folders_are_videos=folders_are_videos):
            sources.append((one, True))
        elif is_one_image(one):
            sources.append((one, False))
        else:
            found = find_images(one)
            sources += [(str(path), False) for path in found.images]
            others += found.others
    names = distinct_names([source for source, _ in sources])
    return [Input(source, name, video) for (source, video), name in zip(sources, names, strict=True)], others


def check_exist(given: Sequence[str]) -> None:
    """Refuse paths where nothing is, all in one message."""
    if missing := [source_name(one) for one in given if is_missing(one)]:
        raise ValueError(f'{", ".join(missing)}: no such file or folder; check the path')


def is_missing(given: str) -> bool:
    """Return whether an argument is a path where nothing is, and not a pattern, an address, a camera or a pipeline."""
    elsewhere = is_address(given) or given.isdecimal() or is_pipeline(given) or NUMBERED.search(given)
    return is_one_image(given) and not elsewhere and not os.path.exists(given)


def is_video(given: str, *, folders_are_videos: bool) -> bool:
    """Return whether an argument is a video, a stream, a camera or a pipe: anything that is not an image."""
    if os.path.isdir(given):
        return folders_are_videos
    return is_one_image(given) and not is_image_name(given)


def why_left_out(path: Path) -> str:
    """Return why a file of a folder of images is not one of them, by the ending of its name."""
    if path.suffix.lower() in UNREAD_SUFFIXES:
        return 'has no reader; convert it to JPEG or PNG'
    if (mimetypes.guess_type(path.name)[0] or '').startswith('video/'):
        return 'a video; name it as an input of its own'
    return 'not an image'
