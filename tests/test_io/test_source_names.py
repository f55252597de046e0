"""Names of sources: what is secret in an address is neither printed nor written."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

from mmmtl.io import VideoReader, distinct_names, source_name
from mmmtl.io.image_sources import is_one_image, load_image, name_image

NAMES = {
    'rtsp://user:secret@host:554/live?channel=2&token=secret': 'rtsp://host:554/live?channel=2&token=xxx',
    'rtsp://user:sec/ret?@host/live': 'rtsp://host/live',
    'rtsp:/user:secret@host/live': 'rtsp:/host/live',
    'rtsp://user:secret@[::1]:554/live': 'rtsp://[::1]:554/live',
    'cache:https://user:secret@host/x.mp4': 'cache:https://host/x.mp4',
    'https://host/x.mp4?secret': 'https://host/x.mp4?xxx',
    'https://host/x.mp4?a=secret/x=&b=12#t=secret': 'https://host/x.mp4?a=xxx&b=12#t=xxx',
    'srt://host:9?passphrase=secret&pin=1234': 'srt://host:9?passphrase=xxx&pin=xxx',
    'rtsp://host/user=admin&password=secret/x&channel=1': 'rtsp://host/user=xxx&password=xxx&channel=1',
    'rtsp://host/user=admin_password=secret_channel=1': 'rtsp://host/user=xxx',
    'rtspsrc location=rtsp://u:secret@h user-pw="secret" ! video/x-raw,width=64 ! sink': 'rtspsrc ! video/x-raw ! sink',
    'rtsp://user:sec!ret@host/live': 'rtsp://host/live',
    'rtsp://user:sec !ret@host/live': 'rtsp://host/live',
    'rtsp://user:p !secret@host/live?channel=2': 'rtsp://host/live?channel=2',
    'rtsp://user@x:p/secret@host/live': 'rtsp://host/live',
    'https://host/x.mp4?key=12/secret': 'https://host/x.mp4?key=xxx',
    'rtsp://host/x?Password=12&pin=123&channel=1': 'rtsp://host/x?Password=xxx&pin=xxx&channel=1',
    'rtspsrc user-id=a user-pw="s ! secret" ! decodebin ! appsink': 'rtspsrc ! decodebin ! appsink',
    "rtspsrc user-pw='s ! secret\\' ! secret' ! decodebin": 'rtspsrc ! decodebin',
    'rtspsrc location=rtsp://h/x user-pw=secret !decodebin !appsink': 'rtspsrc ! decodebin ! appsink',
    'rtspsrc user-pw=secret sync=true': 'rtspsrc user-pw=xxx',
    'rtspsrc user-pw = secret': 'rtspsrc user-pw=xxx',
    'rtspsrc location=rtsp://host user-pw="a&secret"': 'rtspsrc location=xxx',
    'user:secret@host/x.mp4': 'host/x.mp4',
    'user:sec@ret-secret@host/x.mp4': 'host/x.mp4',
    '//user:secret@host/x.mp4': '//host/x.mp4',
    'rtsp:user:secret@host/x.mp4': 'host/x.mp4',
    # Nothing is secret in these.
    'rtsp://host:554/@me/live': 'rtsp://host:554/@me/live',
    'rtsp://[::1]:554/@me/live': 'rtsp://[::1]:554/@me/live',
    'clips/a=b@c.mp4': 'clips/a=b@c.mp4',
    'C:/me@here/x.mp4': 'C:/me@here/x.mp4',
    r'C:\me\a@b.mp4': r'C:\me\a@b.mp4',
    'clips/wow!.mp4': 'clips/wow!.mp4',
    'wow ! a.mp4': 'wow ! a.mp4',
    'videotestsrc ! appsink': 'videotestsrc ! appsink',
    '/dev/video0': '/dev/video0',
}


@pytest.mark.parametrize('source', NAMES)
def test_names(source: str) -> None:
    assert source_name(source) == name_image(source, 0) == NAMES[source]
    assert 'secret' not in distinct_names([source])[0] and 'secret' not in NAMES[source]


def test_a_file_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path('a ! b=c.mp4').touch()
    assert source_name('a ! b=c.mp4') == 'a ! b=c.mp4'


def test_names_of_outputs_of_addresses() -> None:
    assert distinct_names(['rtsp://user:secret@host', 'https://user:secret@host/clips/x.mp4?token=secret']) == [
        'host',
        'x',
    ]
    channels = [f'rtsp://u:secret@host/cam?channel={number}' for number in (1, 2)]
    assert distinct_names(channels) == ['cam?channel=1', 'cam?channel=2']


@pytest.mark.parametrize(
    'source',
    [
        'rtsp://user:secret@127.0.0.1:1/live?token=secret',
        'http://user:secret@127.0.0.1:1/x.mp4',
        'rtsp://user:sec!ret-secret@127.0.0.1:1/live',
        'unknown://user:secret@host/live',
        'file:///secret@x?password=secret',
        'nothing location=rtsp://user:secret@host user-pw=secret ! appsink',
        'nothing location=rtsp://user:secret@host user-pw=secret !appsink',
    ],
)
@pytest.mark.parametrize('backend', ['pyav', 'opencv'])
def test_errors_of_videos_hold_no_secret(
    source: str, backend: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if backend == 'opencv':
        monkeypatch.setattr('mmmtl.io.video.reader.find_pyav', lambda: None)
    else:
        pytest.importorskip('av')
    with pytest.raises(ValueError, match=re.escape(source_name(source))) as caught, VideoReader(source):
        pass
    assert 'password=secret' not in str(caught.value) and 'user' not in str(caught.value)
    assert 'secret' not in str(caught.value).replace('secret@x', '')
    assert 'secret' not in ''.join(capfd.readouterr()), 'nor what the libraries print'


@pytest.mark.parametrize(
    'source',
    [
        'http://user:secret@127.0.0.1:1/x.jpg',
        'http://127.0.0.1:1/x.jpg?token=secret',
        'http://127.0.0.1:1/a b?t=secret',
        'HTTP://user:secret@127.0.0.1:1/x.jpg',
        'http:/user:secret@127.0.0.1:1/x.jpg',
        'rtsp://user:secret@127.0.0.1:1/x.jpg',
        'ftp://127.0.0.1:1/x.jpg?key=secret',
    ],
)
def test_errors_of_images_hold_no_secret(source: str) -> None:
    with pytest.raises(ValueError, match=r'(?i)(https?|rtsp|ftp)://?127\.0\.0\.1:1/') as caught:
        load_image(source)
    error: BaseException | None = caught.value
    while error is not None:
        assert 'secret' not in str(error)
        error = error.__cause__


def test_errors_of_missing_files_hold_no_secret() -> None:
    with pytest.raises(FileNotFoundError, match=r'^host/x\.jpg: no such image'):
        load_image('user:secret@host/x.jpg')
    with pytest.raises(FileNotFoundError, match=r'^host/x\.mp4: no such video'):
        VideoReader('user:secret@host/x.mp4')
    with pytest.raises(FileNotFoundError, match='^rtspsrc user-pw=xxx: no such video'):
        VideoReader('rtspsrc user-pw=secret')


@pytest.mark.parametrize('name', ['wow!.mp4', 'wow ! a.mp4', 'a=b!.mp4'])
def test_a_missing_file_may_have_an_exclamation_mark(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f'{name}: no such video'):
        VideoReader(tmp_path / name)


def test_a_damaged_file_is_no_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmmtl.io.video.reader.find_pyav', lambda: None)
    (tmp_path / 'x ! a=b').write_bytes(b'no video')
    with pytest.raises(ValueError, match='x ! a=b: .*check the file'):
        VideoReader(tmp_path / 'x ! a=b')


def test_an_address_with_a_question_mark_is_no_pattern() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert is_one_image('rtsp://host/cam?channel=1') and is_one_image('rtsp://[::1]/cam')
    assert not is_one_image('photos/*.jpg')
