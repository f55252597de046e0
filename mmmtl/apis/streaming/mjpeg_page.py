"""A page in the browser that shows running streams, from the HTTP server of the standard library."""

from __future__ import annotations

import html
import re
import select
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from urllib.parse import quote, unquote
from zlib import crc32

import cv2
from mmengine.logging import print_log

from mmmtl.structures import Array

from .frames import StreamFrame, StreamInfo
from .sinks import StreamSink

BOUNDARY = 'frame'

LOCAL = ('localhost', '127.0.0.1', '[::1]')
"""Names of this machine; a page that only this machine can see accepts these and its own."""

VIEWERS = 16
"""The most pictures that are sent at the same time; each takes a thread."""

TIMEOUT = 30.0
"""Seconds after which a viewer that sends no request, or takes no picture, has left."""

WAIT = 1.0
"""Seconds after which a thread without a new picture looks whether the page is closed."""

WATCHED = 3.0
"""Seconds after a request for a picture in which its stream is drawn; browsers ask once a second for a hidden page."""

PAUSE = 0.025
"""Seconds from one request of the page to the next, shared by its streams."""

LONG_PAUSE = 0.1
"""Seconds to which the pause of a stream without new pictures grows, unless that of many streams is longer."""


SCRIPT = f"""<script>
const images = [...document.images], rest = (ms) => new Promise((done) => setTimeout(done, ms))
const short = {1000 * PAUSE:g} * images.length, long = Math.max(short, {1000 * LONG_PAUSE:g})
images.forEach(async (image) => {{
  const address = image.src
  let pause = short, seen = ''
  while (true) {{
    await rest(pause)
    try {{
      const answer = await fetch(address, {{cache: 'no-store', headers: {{'If-None-Match': seen}}}}), last = image.src
      pause = answer.ok ? short : Math.min(2 * pause, long)
      if (!answer.ok) continue
      image.src = URL.createObjectURL(await answer.blob())
      await image.decode()
      URL.revokeObjectURL(last)
      seen = answer.headers.get('ETag')
    }} catch {{
      await rest({1000 * WAIT:g})
    }}
  }}
}})
setInterval(async () => {{
  const page = await (await fetch('/')).text()
  if (new DOMParser().parseFromString(page, 'text/html').images.length > images.length) location.reload()
}}, {1000 * WAIT:g})
</script>
"""
"""Shows the newest picture of each stream, and loads the page again when another stream has begun.

Each request is short: browsers keep only six connections to a host, and a Motion JPEG would hold one for ever.
"""


@dataclass
class _Shown:
    """The newest picture of a stream, as JPEG, how many there have been, and until when somebody watches it."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    jpeg: bytes = b''
    number: int = 0
    ended: bool = False
    watched: float = 0.0


class MjpegPage(StreamSink):
    """A page with the drawings of all streams while they run.

    Viewers see the newest frames, at most 40 a second over all streams. `{url}{name}.mjpeg` is one stream as Motion
    JPEG, for players. A slow viewer misses frames and holds up nobody, and a stream without viewers is not drawn for
    the page.

    Args:
        port: 0 takes a free one.
        host: the address to listen on. By default ('127.0.0.1', or '::1' in IPv6) only this machine can see the page;
            '0.0.0.0' or '::' shows the streams to everybody in the network, without a password.
        quality: quality of the JPEG files, 1 to 100.

    Attributes:
        url: address of the page, inside the `with` block.

    Raises:
        ValueError: the port is taken, or the host is not one of this machine.

    Examples:
        >>> with MjpegPage(8000) as page:  # doctest: +SKIP
        ...     StreamRunner(inferencer, 0).run(page)
    """

    def __init__(self, port: int = 0, *, host: str = '127.0.0.1', quality: int = 85) -> None:
        self._address, self._quality = (host, port), quality
        self._name = f'[{host}]' if ':' in host else host
        self._streams: dict[str, _Shown] = {}
        self._viewers = threading.BoundedSemaphore(VIEWERS)
        self._closed = threading.Event()
        # A port that is taken is refused before anything runs.
        self._server: _Server | None = self._listen()

    def open(self) -> None:
        self._server = self._server or self._listen()
        self._closed.clear()
        self.url = f'http://{self._name}:{self._server.server_address[1]}/'
        print_log(f'the streams are shown at {self.url}', logger='current')
        threading.Thread(target=self._server.serve_forever, name='page', daemon=True).start()

    def write(self, frame: StreamFrame) -> None:
        shown = self._streams.get(frame.stream.name) or _Shown()
        shown.ended = False
        # The first picture is there for those who come when a stream stalls.
        if time.monotonic() < shown.watched or not shown.number:
            jpeg = _encode(frame.panel, self._quality)
            with shown.changed:
                shown.jpeg, shown.number = jpeg, shown.number + 1
                shown.changed.notify_all()
            self._streams[frame.stream.name] = shown

    def end(self, stream: StreamInfo) -> None:
        if (shown := self._streams.get(stream.name)) is not None:
            with shown.changed:
                shown.ended = True
                shown.changed.notify_all()

    def close(self, error: BaseException | None) -> None:
        assert self._server is not None
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._server = None

    def _listen(self) -> _Server:
        """Return a server that has taken its port."""
        try:
            return _Server(self._address, self)
        except (OSError, OverflowError) as error:
            place = f'{self._name}:{self._address[1]}'
            raise ValueError(f'{place}: cannot serve a page there ({error}); choose another port or host') from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], page: MjpegPage) -> None:
        self.page = page
        self.address_family = socket.AF_INET6 if ':' in address[0] else socket.AF_INET
        super().__init__(address, _Handler)
        self.is_local = ip_address(str(self.server_address[0])).is_loopback

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of viewers that leave in the middle."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    """Answers for the page (/), the newest picture of a stream (/NAME.jpg) and all that follow (/NAME.mjpeg)."""

    server: _Server
    timeout = TIMEOUT
    server_version = 'mmmtl'
    sys_version = ''

    def do_GET(self) -> None:
        page, path = self.server.page, self.path.partition('?')[0]
        name, _, kind = unquote(path[1:]).rpartition('.')
        if not self._is_for_us():
            # The page of a stranger, whose name was made to lead here, could read the pictures.
            self.send_error(HTTPStatus.FORBIDDEN)
        elif path == '/':
            self._send(_page(list(page._streams)).encode(), 'text/html; charset=utf-8')
        elif kind not in ('jpg', 'mjpeg') or (shown := page._streams.get(name)) is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        elif not page._viewers.acquire(blocking=False):
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            try:
                shown.watched = time.monotonic() + WATCHED
                if kind == 'jpg':
                    self._send(shown.jpeg, 'image/jpeg')
                else:
                    self._send_pictures(page, shown)
            finally:
                page._viewers.release()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""

    def _is_for_us(self) -> bool:
        name = re.sub(r':\d*$', '', self.headers.get('Host', '').lower())
        return not self.server.is_local or name in (*LOCAL, self.server.page._name.lower())

    def _send(self, content: bytes, kind: str) -> None:
        """Send a file, unless the browser says that it has it."""
        tag = f'"{crc32(content):08x}"'
        if self.headers.get('If-None-Match') == tag:
            self._send_head(HTTPStatus.NOT_MODIFIED, {'ETag': tag})
        else:
            self._send_head(HTTPStatus.OK, {'Content-Type': kind, 'Content-Length': str(len(content)), 'ETag': tag})
            self.wfile.write(content)

    def _send_pictures(self, page: MjpegPage, shown: _Shown) -> None:
        self._send_head(HTTPStatus.OK, {'Content-Type': f'multipart/x-mixed-replace; boundary={BOUNDARY}'})
        seen, ended = 0, False
        while not (ended or page._closed.is_set()):
            shown.watched = time.monotonic() + WATCHED
            with shown.changed:
                shown.changed.wait_for(lambda seen=seen: shown.number > seen or shown.ended, WAIT)  # type: ignore[misc]
                jpeg, number, ended = shown.jpeg, shown.number, shown.ended
            if number > seen:
                seen = number
                head = f'--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n'
                self.wfile.write(head.encode() + jpeg + b'\r\n')
            elif self._has_left():
                return

    def _has_left(self) -> bool:
        """Return whether the viewer has closed the connection, which nothing but a write would tell otherwise."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _send_head(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {'Cache-Control': 'no-store', **headers}.items():
            self.send_header(name, value)
        self.end_headers()


def _encode(panel: Array, quality: int) -> bytes:
    """Return a drawing (H, W, 3) uint8 RGB as a JPEG file."""
    ok, jpeg = cv2.imencode('.jpg', panel[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok, 'OpenCV writes JPEG'
    return jpeg.tobytes()


def _page(names: list[str]) -> str:
    """Return the page with the pictures of some streams."""
    pictures = [
        f'<figure><img src="/{quote(name, safe="")}.jpg" alt="maps of {html.escape(name)}">'
        f'<figcaption>{html.escape(name)}</figcaption></figure>'
        for name in names
    ]
    body = '\n'.join(pictures) or '<p>No frame has come yet.</p>'
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>mmmtl</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<style>body{font:16px sans-serif;margin:1em;background:#111;color:#ddd}figure{margin:0 0 1em}'
        'img{max-width:100%}figcaption{overflow-wrap:anywhere}</style></head>\n'
        f'<body>\n{body}\n<noscript>Pictures move only with JavaScript.</noscript>\n{SCRIPT}</body></html>\n'
    )
