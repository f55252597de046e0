"""Names of images and videos for messages, reports and files, without what is secret in an address."""

from __future__ import annotations

import os
import re
from pathlib import Path

HIDDEN = 'xxx'
"""What stands for a value in a printed address."""

ADDRESS = re.compile(r'[a-z][a-z0-9+.-]+:/', re.IGNORECASE)

USER = re.compile(r'(:/{1,2})(?:[^/?#\s]*@|[^/?#\s:\[]*:(?!\d*(?:[/?#\s]|$)).*@)')
"""A user and a password, also one with a / that should be written %2F."""

BARE = re.compile(r'([?&;])[^=&;#]+(?=[&;#]|$)')
VALUE = re.compile(r'=(?!\d{1,3}(?:[&;/?#]|$))[^&;]*')
"""A value of a parameter, which some cameras take in the path; up to three digits are no secret."""

LINK = re.compile(r'\s+!\s+')
ELEMENT = re.compile(r'[\w./-]*')


def source_name(source: str | Path | int) -> str:
    """Return the name of an image or a video as it may be printed and written.

    An address is without user, password and the values of its parameters, but for small numbers, which tell the
    channels of a recorder apart. Of a pipeline of GStreamer the elements are left.

    Args:
        source: a file, a folder, an address, a device, a pipeline, or the number of a camera.

    Examples:
        >>> source_name('rtsp://user:secret@host:554/live?channel=2&token=4f1c')
        'rtsp://host:554/live?channel=2&token=xxx'
        >>> source_name('rtspsrc location=rtsp://host/live user-pw=secret ! decodebin ! appsink')
        'rtspsrc ! decodebin ! appsink'
        >>> source_name('clips/drive.mp4')
        'clips/drive.mp4'
    """
    text = str(source)
    if os.path.exists(text):
        return text
    if is_pipeline(text):
        return ' ! '.join(ELEMENT.match(part.strip())[0] for part in LINK.split(text))  # type: ignore[index]
    if not is_address(text):
        return text
    return VALUE.sub(f'={HIDDEN}', BARE.sub(rf'\1{HIDDEN}', without_user(text)))


def without_user(source: str) -> str:
    """Return a source without the users and passwords of its addresses."""
    return USER.sub(r'\1', source)


def is_address(source: str) -> bool:
    """Return whether a source is an address, such as rtsp://host/live."""
    return '://' in source or ADDRESS.match(source) is not None


def is_pipeline(source: str) -> bool:
    """Return whether a source that is no file is a pipeline of GStreamer: elements with '!' between them."""
    return LINK.search(source) is not None or ('!' in source and not is_address(source))
