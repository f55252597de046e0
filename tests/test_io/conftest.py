"""Small videos, made with PyAV, and the choice of the decoder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

try:
    import av

    # PyAV imports it with the first stream that it writes, when a test may already hide PyAV.
    import av.subtitles.stream
except ImportError:
    av = None

HEIGHT, WIDTH = 48, 64
RED = 8
"""Side of the red square in the upper left corner of every frame."""


def level(number: int) -> int:
    """Return the grey of a frame."""
    return 20 + 10 * number % 200


def picture(number: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """A grey frame, RGB, with a red square in the corner."""
    image = np.full((*size, 3), level(number), np.uint8)
    image[:RED, :RED] = (255, 0, 0)
    return image


MakeVideo = Callable[..., Path]


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Write a video with frames at given times, by default 10 a second."""
    if av is None:
        pytest.skip('needs PyAV')

    def make(
        name: str,
        times: Sequence[float] = (0.0, 0.1, 0.2, 0.3),
        *,
        codec: str = 'libx264',
        size: tuple[int, int] = (HEIGHT, WIDTH),
        pixels: str = 'yuv420p',
        rotation: int | None = None,
        options: dict[str, str] | None = None,
        muxing: dict[str, str] | None = None,
        rate: int = 10,
        audio: bool = False,
    ) -> Path:
        path = tmp_path / name
        base = Fraction(1, 1000) if rate == 10 else Fraction(1, rate)
        with av.open(str(path), 'w', options=muxing or {}) as container:
            stream = container.add_stream(codec, rate=rate, options=options or {})
            stream.height, stream.width, stream.pix_fmt = *size, pixels
            stream.codec_context.time_base = base
            if rotation is not None:
                stream.set_display_rotation(rotation)
            if audio:
                sound = container.add_stream('aac', rate=8000)
            container.start_encoding()
            for number, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(picture(number, size), format='rgb24')
                frame.pts, frame.time_base = round(time / base), base
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            if audio:
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format='fltp', layout='mono')
                silence.sample_rate = 8000
                container.mux(sound.encode(silence))
                container.mux(sound.encode())
        return path

    return make


@pytest.fixture(params=['pyav', 'opencv'])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Decode and encode with PyAV, or as if it were not installed."""
    if request.param == 'pyav':
        if av is None:
            pytest.skip('needs PyAV')
    else:
        monkeypatch.setitem(sys.modules, 'av', None)
    return request.param
