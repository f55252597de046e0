"""`mmmtl demo` in a browser: files and a camera go in, maps come out."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmmtl.io import read_image

pytestmark = pytest.mark.slow

CONFIG = 'mila_tiny-k5_1xb8-demo_synthetic-64x128'

PATIENCE = 120.0
"""Seconds in which every step is done, on a machine that does other things, too."""


@pytest.fixture
def address(weights: Path, tmp_path: Path) -> Iterator[str]:
    """The address of the page."""
    pytest.importorskip('gradio')
    # ctrl-C as at a terminal; a shell starts programs in the background, such as these tests, with SIGINT ignored.
    heard = 'import signal; signal.signal(signal.SIGINT, signal.default_int_handler)'
    command = [sys.executable, '-u', '-c', f'{heard}; from mmmtl.commands import main; main()']
    options = ['demo', '--model', CONFIG, '--weights', str(weights), '--device', 'cpu']
    with (
        open(tmp_path / 'log.txt', 'w') as log,
        subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            yield next(match[1] for line in server.stdout if (match := re.match(r'open (\S+) in a browser', line)))
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(PATIENCE)
            finally:
                server.kill()


@pytest.fixture
def page(address: str, chromium: Any) -> Any:
    """The page in a browser with a camera that shows a test picture."""
    page = chromium.new_context(viewport=dict(width=1300, height=1000), permissions=['camera']).new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(address)
    page.get_by_text('tasks', exact=True).wait_for()
    return page


def counted(page: Any) -> int:
    """Return how many frames the time line has counted."""
    text = page.locator('#time-line').inner_text()
    return sum(int(number) for number in re.findall(r'(\d+) (?:key |non-key )?frames?\b', text))


def check_picture(path: Path) -> None:
    """Refuse a picture of the page on which no map is drawn."""
    image = read_image(path)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 1000


def test_a_video_goes_in_and_maps_come_out(page: Any, video: Path, tmp_path: Path) -> None:
    page.set_input_files('input[type=file]', str(video))
    page.locator('video').first.wait_for()
    page.click('#predict-video')
    page.locator('#film video').wait_for()
    assert counted(page) == 7
    page.screenshot(path=str(tmp_path / 'video.png'), full_page=True)
    check_picture(tmp_path / 'video.png')


def test_a_camera_runs_until_it_is_stopped(page: Any, tmp_path: Path) -> None:
    page.get_by_role('tab', name='camera').click()
    page.get_by_text('Click to Access Webcam').click()
    page.get_by_title('start recording').click()
    page.wait_for_function("document.querySelectorAll('#time-line rect').length > 5")
    page.screenshot(path=str(tmp_path / 'camera.png'), full_page=True)
    check_picture(tmp_path / 'camera.png')
    page.get_by_title('stop recording').click()
    page.get_by_title('start recording').wait_for()
    # A frame may be on its way.
    end = time.monotonic() + PATIENCE
    while (before := counted(page)) != (page.wait_for_timeout(3000), counted(page))[1]:
        assert time.monotonic() < end, 'the camera goes on'
    assert before > 5
