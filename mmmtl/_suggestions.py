"""Known names that a user may have meant by an unknown one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: object, known: Iterable[str], *, most: int = 1, cutoff: float = 0.8) -> list[str]:
    """Return the known names that differ from a name by some letters, case, hyphens or underscores, nearest first.

    `cutoff` is the least likeness, 0 to 1; the default finds slips of a key or two.
    """
    plain = {_fold(one): one for one in known}
    return [plain[one] for one in get_close_matches(_fold(name), plain, n=most, cutoff=cutoff)]


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: up to three similar names, or all known ones.

    Examples:
        >>> did_you_mean('Depth', ['depth', 'semseg', 'normals'])
        "did you mean 'depth'?"
        >>> did_you_mean('edges', ['depth', 'semseg'])
        "known are 'depth', 'semseg'"
    """
    known = sorted(known)
    near = nearest(name, known, most=3, cutoff=0.6)
    return f'did you mean {" or ".join(map(repr, near))}?' if near else f'known are {", ".join(map(repr, known))}'


def _fold(name: object) -> str:
    return str(name).lower().replace('_', '').replace('-', '')
