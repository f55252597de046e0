"""The timeline below the maps: a bar of each frame, key frames in another colour, and the cost up to now."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping

from mmmtl._output import counted
from mmmtl.apis.streaming import StageTimes
from mmmtl.models.segmentors.frame_kinds import IMAGE, KEY, KIND_NAMES, NON_KEY

SHOWN = 120
"""The number of frames whose bars are shown, the latest ones."""

LEAST = 40
"""The number of frames from which on their bars become narrower."""

WIDTH, HEIGHT, LABEL = 720, 96, 14
"""Size of the picture, and height of its labels, in pixels."""

COLOURS = {KEY: '#d55e00', NON_KEY: '#0072b2', IMAGE: '#0072b2'}


class TimeLine:
    """The times of a stream's frames, in memory that does not grow.

    Args:
        gmac: billions of multiply-accumulates by kind of frame; may be empty.
    """

    def __init__(self, gmac: Mapping[str, float]) -> None:
        self._gmac = gmac
        self._bars: deque[tuple[int, str, float]] = deque(maxlen=SHOWN)
        self._times: dict[str, StageTimes] = defaultdict(StageTimes)
        self._frames = 0

    def add(self, kind: str, seconds: float) -> None:
        """Add the next frame: its kind, and the time that the model took."""
        self._bars.append((self._frames, kind, seconds))
        self._frames += 1
        self._times[kind].add(seconds)

    def html(self) -> str:
        """Return the timeline as a picture (SVG) with a line of text below; empty without a frame."""
        if not self._bars:
            return ''
        highest = max(seconds for _, _, seconds in self._bars)
        step, room = WIDTH / max(LEAST, len(self._bars)), HEIGHT - 2 * LABEL
        bars = []
        for place, (number, kind, seconds) in enumerate(self._bars):
            height = max(1.0, room * seconds / highest)
            title = f'frame {number}: {KIND_NAMES[kind]}, {1000 * seconds:.0f} ms'
            bars.append(
                f'<rect x="{place * step:.1f}" y="{LABEL + room - height:.1f}" width="{step - 1:.1f}" '
                f'height="{height:.1f}" fill="{COLOURS[kind]}"><title>{title}</title></rect>'
            )
        first, last = self._bars[0][0], self._bars[-1][0]
        style, end = 'fill="currentColor" font-size="11"', max(70.0, len(self._bars) * step)
        labels = (
            f'<text x="0" y="{LABEL - 4}" {style}>{1000 * highest:.0f} ms</text>'
            f'<text x="0" y="{HEIGHT - 3}" {style}>frame {first}</text>'
            f'<text x="{end:.0f}" y="{HEIGHT - 3}" {style} text-anchor="end">{last}</text>'
        )
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="time of each frame" style="width:100%">'
            f'{"".join(bars)}{labels}</svg><p>{"; ".join([*self._kinds(), *self._cost()])}</p>'
        )

    def _kinds(self) -> list[str]:
        """Return the number and the average time of each kind of frame."""
        found = []
        for kind, times in sorted(self._times.items()):
            square = f'<span style="color:{COLOURS[kind]}">&#9632;</span>'
            # The mean leaves out the first frame, which is slow.
            mean = f', {1000 * times.mean:.0f} ms each' if times.count > 1 else ''
            found.append(f'{square} {counted(times.count, KIND_NAMES[kind])}{mean}')
        return found

    def _cost(self) -> list[str]:
        """Return the multiply-accumulates per frame up to now, and their share of those of a key frame."""
        if not all(kind in self._gmac for kind in self._times):
            return []
        mean = sum(self._gmac[kind] * times.count for kind, times in self._times.items()) / self._frames
        share = f', {mean / self._gmac[KEY]:.0%} of key frames alone' if KEY in self._gmac else ''
        return [f'{mean:.3g} GMAC a frame{share}']
