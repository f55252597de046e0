"""The names of sources in messages, reports and files, without the secrets of addresses."""

from __future__ import annotations

import os
import re
from pathlib import Path

HIDDEN = 'xxx'
"""The text in place of a value that is not printed."""

ADDRESS = re.compile(r'[a-z][a-z0-9+.-]+:/', re.IGNORECASE)

USER = re.compile(r'(://|(?<=\w\w):/)(?:[^/?#\s]*@)?(?:[^/?#\s:\[]*:(?!\d*(?:[/?#\s]|$)).*@)?', re.DOTALL)
"""A user and a password, also one with a / that should be written %2F."""
LOGIN = re.compile(r'(//)?[^/\\\s:]+:[^/\\\s]+@')
"""A user and a password where // is missing; C: and a folder are not."""

BARE = re.compile(r'([?&;])[^=&;#]+(?=[&;#]|$)')
VALUE = re.compile(
    r'((?:pass|pw|pin|key|token)[^=&;/?#]*)=[^&;]*|=(?!\d{1,3}(?:[&;#]|$))[^&;]*', re.IGNORECASE | re.DOTALL
)
"""A value of a parameter; some cameras take parameters in the path. Up to three digits stay, unless its name tells a
secret, such as `pin`."""
PROPERTY = re.compile(r'(?<!\S)(user-id|user-pw|proxy-id|proxy-pw|passphrase)\s*=.*', re.DOTALL)
"""A secret property of a GStreamer element, and all that follows."""

NUMBERED = re.compile(r'%0?\d*d')
"""The place of the number in the name of numbered images, such as frame_%04d.png."""

LINK = re.compile(r'\s+!\s*|\s*!\s+')
QUOTED = re.compile(r"""(["'])(?:\\.|(?!\1)[^\\])*\1?""", re.DOTALL)
ELEMENT = re.compile(r'[\w./-]*')
FILE = re.compile(r'\S*\.\w+|[^=]*\.\w+')
"""A name with a suffix; a pipeline ends in an element, or in its properties."""


def source_name(source: str | Path | int) -> str:
    """Return the name of an image or a video as it may be printed and written.

    An address is without user, password and the values of its parameters, but for small numbers, which tell the
    channels of a recorder apart. Of a GStreamer pipeline with properties the elements are left.

    A password with both @ and / is not known from a path, as in rtsp://user:a@b/c@host, nor is one that begins as a
    port does, as in rtsp://user:12/34@host: write %40 and %2F.

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
        # Bytes that are not UTF-8 could not be printed.
        return os.fsencode(text).decode(errors='replace')
    text = without_user(text)
    if is_pipeline(text) and '=' in text:
        parts = LINK.split(QUOTED.sub('', text))
        return ' ! '.join(ELEMENT.match(part.strip())[0] for part in parts)  # type: ignore[index]
    text = PROPERTY.sub(rf'\1={HIDDEN}', text)
    return VALUE.sub(rf'\1={HIDDEN}', BARE.sub(rf'\1{HIDDEN}', text)) if is_address(text) else text


def without_user(source: str) -> str:
    """Return a source without the users and passwords of its addresses."""
    login = LOGIN.match(source)
    return USER.sub(r'\1', source if login is None else (login[1] or '') + source[login.end() :])


def is_address(source: str) -> bool:
    """Return whether a source is an address, such as rtsp://host/live."""
    return '://' in source or ADDRESS.match(source) is not None


def is_pipeline(source: str) -> bool:
    """Return whether a source is a GStreamer pipeline, elements with '!' between them, and not a missing file."""
    if is_address(source):
        return LINK.search(source) is not None
    return '!' in source and FILE.fullmatch(source) is None
