"""Sinks for eyes: the page in the browser, and recordings for Rerun."""

from __future__ import annotations

import http.client
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from mmmtl.apis import MultiTaskInferencer, StreamRunner
from mmmtl.apis.streaming import MjpegPage, RerunSink, StreamFrame


def grey(level: int) -> np.ndarray:
    return np.full((32, 64, 3), level, np.uint8)


def ask(page: MjpegPage, path: str, host: str | None = None, *, seen: str = '') -> http.client.HTTPResponse:
    """Send a request; `host` is the name under which the page is asked for, `seen` the tag of what is there."""
    address = urlsplit(page.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    connection.putrequest('GET', path, skip_host=True)
    connection.putheader('Host', host or address.netloc)
    connection.putheader('If-None-Match', seen)
    connection.endheaders()
    return connection.getresponse()


def read_picture(answer: http.client.HTTPResponse) -> np.ndarray | None:
    """Return the next picture of a stream; None at its end."""
    if not (line := answer.readline()):
        return None
    assert line == b'--frame\r\n' and answer.readline() == b'Content-Type: image/jpeg\r\n'
    length = int(answer.readline().split(b':')[1])
    assert answer.readline() == b'\r\n'
    picture = cv2.imdecode(np.frombuffer(answer.read(length), np.uint8), cv2.IMREAD_COLOR)
    assert answer.readline() == b'\r\n'
    return picture


def test_the_page_shows_running_streams(inferencer: MultiTaskInferencer) -> None:
    looked = threading.Event()

    def frames() -> Iterator[np.ndarray]:
        yield grey(10)
        assert looked.wait(60)
        for level in range(20, 60):
            time.sleep(0.005)
            yield grey(level)

    shown: list[Any] = []
    pages: list[str] = []
    panels: dict[int, np.ndarray] = {}
    with MjpegPage() as page:

        def look() -> None:
            while '&amp;' not in (text := ask(page, '/').read().decode()):
                time.sleep(0.01)
            pages.append(text)
            (address,) = re.findall('src="(/.*?)"', text)
            answer = ask(page, address.replace('.jpg', '.mjpeg'))
            shown.append(read_picture(answer))
            looked.set()
            while (picture := read_picture(answer)) is not None:
                shown.append(picture)

        viewer = threading.Thread(target=look)
        viewer.start()
        runner = StreamRunner(inferencer, {'a "&" b': frames()})
        runner.run(page, lambda frame: panels.__setitem__(frame.number, frame.panel))
        viewer.join(30)
        assert not viewer.is_alive(), 'the stream ends for its viewers'
    assert pages[0].count('a &quot;&amp;&quot; b') == 2 and '"&"' not in pages[0]
    assert 1 < len(shown) <= 41
    for picture, number in ((shown[0], 0), (shown[-1], 40)):
        assert np.abs(picture[..., ::-1].astype(int) - panels[number]).mean() < 4


def test_viewers_that_leave_or_take_nothing(
    inferencer: MultiTaskInferencer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr('mmmtl.apis.streaming.mjpeg_page._Handler.timeout', 0.3)
    with MjpegPage() as page:
        StreamRunner(inferencer, {'a': [grey(0)] * 3}).run(page)
        address = '127.0.0.1', int(page.url.rstrip('/').rpartition(':')[2])
        before = threading.active_count()
        viewers = [socket.create_connection(address) for _ in range(20)]
        for viewer in viewers[:5]:
            # Closed at once, with an error for who reads from it.
            viewer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            viewer.close()
        end = time.monotonic() + 20
        while threading.active_count() > before and time.monotonic() < end:
            time.sleep(0.05)
        assert threading.active_count() <= before
        assert 'Traceback' not in capfd.readouterr().err
    for viewer in viewers:
        viewer.close()


def test_a_port_that_is_taken() -> None:
    with MjpegPage() as page:
        port = int(page.url.rstrip('/').rpartition(':')[2])
        with pytest.raises(ValueError, match=f'127.0.0.1:{port}'), MjpegPage(port):
            pass
    with pytest.raises(ValueError, match='99999'), MjpegPage(99999):
        pass


def test_a_stream_of_the_next_run_is_shown(inferencer: MultiTaskInferencer) -> None:
    with MjpegPage() as page:
        StreamRunner(inferencer, {'a': [grey(0)] * 3}).run(page)

        def look() -> None:
            answer = ask(page, '/a.mjpeg')
            while (picture := read_picture(answer)) is not None:
                shown.append(picture)

        shown: list[Any] = []
        viewer = threading.Thread(target=look)
        StreamRunner(inferencer, {'a': [grey(9)] * 9}).run(
            page, lambda frame: (viewer.start(), time.sleep(0.5)) if frame.number == 1 else time.sleep(0.02)
        )
        viewer.join(30)
        assert len(shown) > 1


def test_the_page_is_for_this_machine(inferencer: MultiTaskInferencer) -> None:
    with MjpegPage() as page:
        assert page._server.server_address[0] == '127.0.0.1'
        StreamRunner(inferencer, {'a': [grey(0)] * 20}).run(page)
        assert ask(page, '/', 'localhost:80').status == 200
        assert ask(page, '/', 'stranger.example:80').status == ask(page, '/a.mjpeg', 'stranger.example').status == 403
        for path in ('/b.mjpeg', '/b.jpg', '/../a', '/etc/passwd', '/a', '/a.png'):
            assert ask(page, path).status == 404


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as found:
            found.bind(('::1', 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason='this machine has no IPv6')
def test_a_page_at_an_address_of_ipv6(inferencer: MultiTaskInferencer) -> None:
    with MjpegPage(host='::1') as page:
        port = page._server.server_address[1]
        assert page._server.server_address[0] == '::1' and page.url == f'http://[::1]:{port}/'
        StreamRunner(inferencer, {'a': [grey(0)] * 3}).run(page)
        for host in (None, '[::1]', f'localhost:{port}'):
            assert ask(page, '/', host).status == 200
        for host in ('stranger.example', f'[::2]:{port}', '::1', f'[::1].stranger.example:{port}'):
            assert ask(page, '/a.mjpeg', host).status == 403
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(('127.0.0.1', port), timeout=20)
        with pytest.raises(ValueError, match=rf'\[::1\]:{port}'), MjpegPage(port, host='::1'):
            pass


def test_every_name_of_this_machine_is_guarded() -> None:
    with MjpegPage(host='127.1') as page:
        assert ask(page, '/').status == 200 and ask(page, '/', 'stranger.example').status == 403


def test_many_streams_take_no_connection_for_long(
    inferencer: MultiTaskInferencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Browsers keep six connections to a host, so a page of more streams must end each."""
    monkeypatch.setattr('mmmtl.apis.streaming.mjpeg_page.WATCHED', 60.0)  # however slow the machine is
    going = threading.Event()
    panels: dict[str, np.ndarray] = {}

    def frames(level: int) -> Iterator[np.ndarray]:
        yield grey(level)
        assert going.wait(60)
        yield from [grey(level)] * 3

    def look(frame: StreamFrame) -> None:
        panels.setdefault(frame.stream.name, frame.panel)
        if len(panels) < 8 or going.is_set():
            return
        # One connection after the other, as in a browser that has no other.
        for address in re.findall('src="(/.*?)"', ask(page, '/').read().decode()):
            answer = ask(page, address)
            assert (answer.headers['Content-Type'], answer.headers['Cache-Control']) == ('image/jpeg', 'no-store')
            picture = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
            assert answer.isclosed()
            shown[address] = float(np.abs(picture[..., ::-1].astype(int) - panels[address[1:-4]]).mean())
        going.set()

    shown: dict[str, float] = {}
    with MjpegPage() as page:
        StreamRunner(inferencer, {f's{number}': frames(30 * number) for number in range(8)}).run(page, look)
        assert sorted(shown) == [f'/s{number}.jpg' for number in range(8)] and max(shown.values()) < 4
        assert [one.number for one in page._streams.values()] == [4] * 8, 'what is watched is drawn'


def test_a_picture_is_sent_once(inferencer: MultiTaskInferencer) -> None:
    with MjpegPage() as page:
        StreamRunner(inferencer, {'a': [grey(0)] * 3, 'b': [grey(200)]}).run(page)
        first, other = ask(page, '/a.jpg'), ask(page, '/b.jpg')
        assert first.status == other.status == 200 and first.read() != other.read()
        again = ask(page, '/a.jpg', seen=first.headers['ETag'])
        assert (again.status, again.read()) == (304, b'')
        assert ask(page, '/a.jpg', seen=other.headers['ETag']).status == 200


@pytest.mark.slow
def test_a_browser_loads_a_picture_once(inferencer: MultiTaskInferencer, chromium: Any) -> None:
    with MjpegPage() as page:
        StreamRunner(inferencer, {'a': [grey(0)] * 3}).run(page)
        tab = chromium.new_page()
        loaded: list[int] = []
        tab.on('response', lambda answer: loaded.append(answer.status) if answer.url.endswith('/a.jpg') else None)
        tab.goto(page.url)
        tab.wait_for_function('document.images[0].src.startsWith("blob:")')
        tab.wait_for_timeout(3000)
        # The image of the page, and the first request of its script.
        assert loaded.count(200) == 2 and 2 < loaded.count(304) < 35 and {*loaded} == {200, 304}


@pytest.mark.slow
def test_a_browser_shows_many_streams(inferencer: MultiTaskInferencer, chromium: Any) -> None:
    ready = threading.Event()

    def frames(late: bool) -> Iterator[np.ndarray]:
        assert not late or ready.wait(60)
        for number in range(10_000):
            time.sleep(0.1)
            yield grey(number % 200)

    with MjpegPage() as page:
        runner = StreamRunner(inferencer, {f's{number}': frames(number == 7) for number in range(8)})
        run = threading.Thread(target=runner.run, args=(page,))
        run.start()
        try:
            tab = chromium.new_page()
            while len(page._streams) < 7:
                time.sleep(0.05)
            tab.goto(page.url)
            ready.set()
            # The page loads itself again for the eighth stream, and then stays.
            for wanted in ('naturalWidth > 0', 'src.startsWith("blob:")'):
                tab.wait_for_function(f'document.images.length == 8 && [...document.images].every((i) => i.{wanted})')
            tab.evaluate('window.stays = true')
            tab.wait_for_timeout(2500)
            assert tab.evaluate('window.stays')
        finally:
            ready.set()
            runner.stop()
            run.join()


def test_nothing_is_drawn_without_viewers(inferencer: MultiTaskInferencer, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    panel = inferencer.panel
    monkeypatch.setattr(inferencer, 'panel', lambda *args, **kw: (drawn.append(1), panel(*args, **kw))[1])
    with MjpegPage() as page:
        StreamRunner(inferencer, {'a': [grey(0)] * 20}).run(page)
        assert len(drawn) == 1
        answer = ask(page, '/a.mjpeg')
        assert read_picture(answer) is not None, 'who comes late sees the first picture'


@pytest.mark.slow
def test_a_recording_has_every_frame(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    pytest.importorskip('rerun')
    path = tmp_path / 'maps.rrd'
    with RerunSink(path, inferencer.tasks) as recording:
        StreamRunner(inferencer, {'a': [grey(9)] * 6, 'b': [grey(0)] * 3}).run(recording)
    printed = subprocess.run(
        [sys.executable, '-m', 'rerun', 'rrd', 'print', path],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, 'HOME': str(tmp_path)},
    ).stdout
    rows: Counter[tuple[str, str]] = Counter()
    for count, entity, kind in re.findall(r'with (\d+) rows .* - /([^_].*) - data columns: \[(\w+):', printed):
        rows[entity, kind] += int(count)
    for name, frames in (('a', 6), ('b', 3)):
        for entity, kind in dict(
            image='EncodedImage', semseg='SegmentationImage', depth='DepthImage', normals='EncodedImage'
        ).items():
            assert rows[f'{name}/{entity}', kind] == frames
        assert rows[f'{name}/is_key', 'Scalars'] == rows[f'{name}/seconds/infer', 'Scalars'] == frames
        assert rows[f'{name}/semseg', 'AnnotationContext'] == 1
    assert [one.name for one in tmp_path.glob('*.rrd')] == ['maps.rrd'] and not list(tmp_path.glob('*partial*'))


def test_a_recording_needs_rerun(
    inferencer: MultiTaskInferencer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'rerun', None)
    with pytest.raises(ValueError, match=r'maps\.rrd.*pip install'):
        RerunSink(tmp_path / 'maps.rrd', inferencer.tasks)
    with pytest.raises(ValueError, match=r'maps\.mp4.*\.rrd'):
        RerunSink(tmp_path / 'maps.mp4', inferencer.tasks)


def test_a_viewer_of_a_stalled_stream_gives_its_place_back(inferencer: MultiTaskInferencer) -> None:
    with MjpegPage() as page:
        panels: list[StreamFrame] = []
        StreamRunner(inferencer, {'a': [grey(0)]}).run(panels.append)
        page.write(panels[0])
        for _ in range(16):
            answer = ask(page, '/a.mjpeg')
            assert read_picture(answer) is not None
            answer.close()
        end = time.monotonic() + 20
        while (status := ask(page, '/a.jpg').status) != 200 and time.monotonic() < end:
            time.sleep(0.2)
        assert status == 200
