"""Videos of every kind, with and without PyAV: frames, times, rotation, and what was lost."""

from __future__ import annotations

import gc
import os
import re
import threading
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmmtl.io import VideoReader, VideoWriter, read_frames, write_png
from mmmtl.io.video import VideoFrame
from mmmtl.io.video.backend import Clock
from mmmtl.io.video.encoders import OpenCVEncoder

from .conftest import HEIGHT, WIDTH, MakeVideo, av, level, picture


def read(path: object) -> tuple[VideoReader, list[VideoFrame]]:
    with VideoReader(path) as reader:
        return reader, list(reader)


def greys(frames: list[VideoFrame]) -> list[int]:
    """The grey in the middle of each frame."""
    return [int(np.median(frame.image[20:28, 20:28])) for frame in frames]


def times(frames: list[VideoFrame]) -> list[float]:
    return [round(frame.time, 3) for frame in frames]


KINDS = {
    'h264.mp4': {},
    'upper.MOV': {},
    'h265.mkv': dict(codec='libx265', options={'x265-params': 'log-level=none'}),
    'ten_bit.mp4': dict(codec='libx265', pixels='yuv420p10le', options={'x265-params': 'log-level=none'}),
    'vp9.webm': dict(codec='libvpx-vp9'),
    'mpeg4.avi': dict(codec='mpeg4', rate=25),
    'lossless.mkv': dict(codec='ffv1', size=(47, 63)),
    'moving.gif': dict(codec='gif', pixels='gray'),
    'with_sound.mp4': dict(audio=True),
}


@pytest.mark.parametrize('name', KINDS)
def test_containers_and_codecs(name: str, backend: str, make_video: MakeVideo) -> None:
    expected = [number / KINDS[name].get('rate', 10) for number in range(4)]
    reader, frames = read(make_video(name, expected, **KINDS[name]))

    assert np.abs(np.subtract(greys(frames), [level(number) for number in range(4)])).max() <= 3
    assert frames[0].image.shape == (*KINDS[name].get('size', (HEIGHT, WIDTH)), 3)
    assert times(frames) == expected
    assert reader.is_whole and reader.delivered == 4 and reader.declared in (None, 4)
    assert reader.summary().startswith('4 frames, 0.')


def test_av1_needs_pyav(backend: str, make_video: MakeVideo, capfd: pytest.CaptureFixture[str]) -> None:
    path = make_video('av1.mp4', codec='libsvtav1')

    try:
        assert greys(read(path)[1]) == pytest.approx([20, 30, 40, 50], abs=3)
    except ValueError as error:
        # Some builds of OpenCV decode AV1.
        assert backend == 'opencv' and re.search(r'av1\.mp4: .*pip install "av', str(error))


@pytest.mark.parametrize(
    ('rotation', 'shape', 'corner'),
    [(90, (64, 48), (-1, 0)), (-90, (64, 48), (0, -1)), (180, (48, 64), (-1, -1)), (270, (64, 48), (0, -1))],
)
def test_frames_are_turned_upright(
    rotation: int, shape: tuple[int, int], corner: tuple[int, int], backend: str, make_video: MakeVideo
) -> None:
    """The matrix turns the picture counter-clockwise, as in players."""
    _, frames = read(make_video('turned.mp4', rotation=rotation))

    for image, _ in frames:
        assert image.shape == (*shape, 3)
        corners = {(y, x): int(image[y, x].max()) for y in (0, -1) for x in (0, -1)}
        assert max(corners, key=corners.__getitem__) == corner
        assert image[corner][2] > 200 > 80 > image[corner][0], 'BGR'


def test_frames_do_not_wait_for_the_garbage_collector(make_video: MakeVideo) -> None:
    """In a cycle their pixels would stay until it comes by, which is seldom."""
    path = make_video('long.mp4', [number / 10 for number in range(40)])
    gc.collect()
    gc.disable()
    try:
        with VideoReader(path) as reader:
            assert sum(1 for _ in reader) == 40
        kept = [
            one for one in gc.get_objects() if type(one).__name__ == 'VideoFrame' and type(one).__module__[:2] == 'av'
        ]
        assert len(kept) < 40 // 4
    finally:
        gc.enable()


def test_a_mirrored_video_is_turned_too(make_video: MakeVideo) -> None:
    """A matrix with a negative determinant, as of front cameras, written into the header."""
    path = make_video('mirrored.mp4', rotation=0)
    content = bytearray(path.read_bytes())
    header = content.index(b'tkhd')
    matrix = header + 4 + 40
    one = (1 << 16).to_bytes(4, 'big')
    assert content[matrix : matrix + 4] == one
    content[matrix : matrix + 4] = (-(1 << 16)).to_bytes(4, 'big', signed=True)
    path.write_bytes(content)

    image = read(path)[1][0].image
    assert image[0, -1, 2] > 200 > image[0, 0, 2]


VARIABLE = [0.0, 0.1, 0.2, 1.0, 1.1, 3.0]


@pytest.mark.parametrize('name', ['variable.mp4', 'variable.mkv'])
def test_times_are_those_of_the_file(name: str, backend: str, make_video: MakeVideo) -> None:
    reader, frames = read(make_video(name, VARIABLE))

    assert times(frames) == VARIABLE
    assert reader.is_whole


@pytest.mark.parametrize('start', [0.5, -0.2])
def test_times_count_from_the_first_frame(start: float, backend: str, make_video: MakeVideo) -> None:
    """B-frames, and a late or negative start."""
    path = make_video('start.mkv', [start + moment for moment in VARIABLE], options={'bf': '2'})

    frames = read(path)[1]
    assert times(frames)[0] == 0
    if start > 0:
        assert times(frames) == VARIABLE


def test_what_an_edit_list_cuts_off_is_not_missed(make_video: MakeVideo) -> None:
    reader, frames = read(make_video('cut.mp4', [-0.2, -0.1, 0.0, 0.1, 0.2]))

    assert len(frames) == reader.declared == 3
    assert reader.is_whole


def damage(path: Path, kind: str) -> None:
    """Cut off the second half of the pictures of a video, or overwrite 150 bytes in the middle."""
    content = bytearray(path.read_bytes())
    head = content.index(b'mdat') if path.suffix == '.mp4' else 600
    middle = head + (len(content) - head) // 2
    if kind == 'cut':
        del content[middle:]
    else:
        content[middle : middle + 150] = np.random.default_rng(0).bytes(150)
    path.write_bytes(content)


@pytest.fixture
def long_video(make_video: MakeVideo) -> Path:
    """60 frames with a key frame every 10."""
    moments = [number / 30 for number in range(60)]
    return make_video('long.mp4', moments, rate=30, options={'g': '10'}, muxing={'movflags': '+faststart'})


def test_a_cut_file_says_how_much_came(long_video: Path, backend: str) -> None:
    damage(long_video, 'cut')

    reader, frames = read(long_video)
    assert reader.declared == 60
    assert 15 <= len(frames) < 40
    assert reader.lost == 60 - len(frames)
    assert f'{len(frames)} of 60 declared frames' in reader.summary()
    assert reader.missing().startswith(f'{reader.lost} of 60 frames')
    with pytest.warns(UserWarning, match=rf'long\.mp4: {len(frames)} of 60'):
        assert len(list(read_frames(long_video))) == len(frames)


def test_damaged_spots_are_left_out(long_video: Path, backend: str) -> None:
    damage(long_video, 'hole')

    reader, frames = read(long_video)
    assert 45 <= len(frames) < 60
    assert reader.damaged >= 1
    assert frames[-1].time == pytest.approx(59 / 30, abs=0.02), 'the time goes on'
    assert (np.diff([frame.time for frame in frames]) > 0).all()
    assert re.search(r'damaged spots left out: \d', reader.summary())
    assert re.search(r'damaged spots left out: \d', reader.missing())


def test_a_cut_file_without_a_count_is_measured_in_seconds(backend: str, make_video: MakeVideo) -> None:
    path = make_video('cut.mkv', [number / 30 for number in range(60)], rate=30, codec='ffv1', options={'g': '1'})
    damage(path, 'cut')

    reader, _ = read(path)
    assert not reader.is_whole
    assert re.search(r' s of 2\.0 s', reader.summary())
    assert re.match(r'[01]\.\d of 2\.0 s', reader.missing())


def test_reading_less_on_purpose_is_no_loss(long_video: Path, backend: str) -> None:
    with VideoReader(long_video) as reader:
        for _ in range(5):
            next(reader)
    assert reader.is_whole
    assert reader.summary().startswith('5 frames') and reader.missing() == ''
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        next(read_frames(long_video))


def test_a_pipe_is_read(backend: str, make_video: MakeVideo, tmp_path: Path) -> None:
    moments = [number / 25 for number in range(40)]
    content = make_video('stream.ts', moments, codec='mpeg2video', rate=25, options={'g': '1'}).read_bytes()
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)

    def feed() -> None:
        with pipe.open('wb') as file:
            file.write(content)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    assert len(read(pipe)[1]) == 40
    thread.join(timeout=10)


@pytest.mark.parametrize(
    ('source', 'error', 'message'),
    [
        ('none.mp4', FileNotFoundError, r'none\.mp4: no such video'),
        ('/dev/video99', FileNotFoundError, '/dev/video99'),
        ('/dev/null', ValueError, '/dev/null'),
        ('nothing ! appsink', ValueError, 'nothing ! appsink: .*(GStreamer|pipeline)'),
        ('http://127.0.0.1:9/a.mp4', ValueError, r'127\.0\.0\.1:9/a\.mp4'),
        ('%03d.png', (ValueError, FileNotFoundError), r'%03d\.png'),
        ('', ValueError, "''"),
        ('a\0b', ValueError, 'not the name'),
        (99, ValueError, '99: cannot be opened'),
        (None, ValueError, 'NoneType'),
    ],
)
def test_what_is_no_video_is_refused(
    source: object, error: type[Exception], message: str, backend: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(error, match=message):
        read(source)


def test_a_camera_that_is_missing_is_one_message(capfd: pytest.CaptureFixture[str]) -> None:
    level = cv2.utils.logging.getLogLevel()
    with pytest.raises(ValueError, match='99: cannot be opened'):
        read(99)
    assert capfd.readouterr().err == '' and cv2.utils.logging.getLogLevel() == level


def test_files_that_are_no_videos_are_refused(
    backend: str, make_video: MakeVideo, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'empty.mp4').touch()
    (tmp_path / 'notes.mp4').write_text('no video')
    (tmp_path / 'letters.txt').write_text('FFmpeg would draw this\n' * 50)

    for name in ('empty.mp4', 'notes.mp4', 'letters.txt'):
        with pytest.raises(ValueError, match=name):
            read(tmp_path / name)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    if av is None:
        pytest.skip('needs PyAV')
    with av.open(str(tmp_path / 'sound.m4a'), 'w') as container:
        sound = container.add_stream('aac', rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format='fltp', layout='mono')
        silence.sample_rate = 8000
        container.mux(sound.encode(silence))
        container.mux(sound.encode())

    with pytest.raises(ValueError, match=r'sound\.m4a: .*audio'):
        read(tmp_path / 'sound.m4a')


def test_a_video_without_frames_is_refused(backend: str, make_video: MakeVideo, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'none\.mp4'):
        read(make_video('none.mp4', []))


def test_the_size_of_frames_is_limited(backend: str, make_video: MakeVideo) -> None:
    path = make_video('large.mp4')

    with pytest.raises(ValueError, match=r'large\.mp4: .*64x48'), VideoReader(path, max_pixels=64 * 48 - 1) as reader:
        next(reader)
    with VideoReader(path, max_pixels=64 * 48) as reader:
        next(reader)


def test_a_file_has_one_kind_of_name(make_video: MakeVideo) -> None:
    # An output could replace the video, which `check_outputs` knows by its path.
    path = make_video('h264.mp4')
    for name in (f'file://{path}', f'file:{path}', f'FILE://{path}', f'async:file://{path}'):
        with pytest.raises(ValueError, match='(?i)file:.*path'):
            VideoReader(name)


def test_the_images_of_a_folder_are_limited(tmp_path: Path) -> None:
    write_png(tmp_path / '1.png', np.zeros((20, 20, 3), np.uint8))
    with VideoReader(tmp_path, max_pixels=10) as reader, pytest.raises(ValueError, match=r'1\.png: .*10'):
        next(reader)


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('list.m3u8', '#EXTM3U\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n'),
        ('list.mp4', '#EXTM3U\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n'),
        ('list.mpd', ' \n<MPD type="static"><BaseURL>{video}</BaseURL></MPD>'),
        ('list.mp4', 'ffconcat version 1.0\nfile {video}\n'),
        ('list.mp4', ' ' * 9000 + '<MPD/>'),
    ],
)
def test_a_list_of_other_files_is_refused(
    name: str, content: str, backend: str, make_video: MakeVideo, tmp_path: Path
) -> None:
    text = content.format(video=make_video('h264.mp4'))
    for end in ('', '#\0\n'):
        (tmp_path / name).write_text(text + end)
        with pytest.raises(ValueError, match=f'{name}: a playlist'):
            read(tmp_path / name)


def test_a_clip_of_a_camcorder_may_begin_as_xml_does(tmp_path: Path) -> None:
    (tmp_path / '00001.MTS').write_bytes(b'<\0\1\2' + bytes(200))
    with pytest.raises(ValueError, match=r'00001\.MTS: (?!a list)'):
        read(tmp_path / '00001.MTS')


def test_a_long_address_is_not_printed_whole() -> None:
    with pytest.raises(ValueError, match=r'^127\.0\.0\.1|^http://127') as error:
        read('http://u:secret@127.0.0.1:9/a.mp4?token=' + 's' * 5000)
    assert 'secret' not in str(error.value) and 'sss' not in str(error.value)


def test_a_photo_without_a_reader_is_no_video(tmp_path: Path) -> None:
    (tmp_path / 'IMG_1.HEIC').write_bytes(b'\0\0\0\x18ftypheic')
    with pytest.raises(ValueError, match=r'IMG_1\.HEIC: an image .* convert it'):
        read(tmp_path / 'IMG_1.HEIC')


@pytest.mark.parametrize('suffix', ['.mp4', '.webm', '.mkv'])
def test_a_video_that_opencv_did_not_complete_is_left_out(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmmtl.io.video.encoders.find_pyav', lambda: None)
    with VideoWriter(cut := tmp_path / f'cut{suffix}', 10.0) as writer:
        for grey in range(40):
            writer.write(np.full((16, 16, 3), grey, np.uint8))
    cut.write_bytes(cut.read_bytes()[:-200])
    with pytest.raises(OSError, match='free space'), VideoWriter(tmp_path / f'a{suffix}', 10.0) as writer:
        for grey in range(40):
            writer.write(np.full((16, 16, 3), grey, np.uint8))
        writer._encoder._path = cut
    assert [*tmp_path.iterdir()] == [cut]


def test_opencv_does_not_fill_hours(tmp_path: Path) -> None:
    frame = np.zeros((16, 16, 3), np.uint8)
    encoder = OpenCVEncoder(tmp_path / 'a.mp4', 30.0, (16, 16))
    encoder.write(frame, 0.0)
    with pytest.raises(ValueError, match=r'3600\.00 s'):
        encoder.write(frame, 3600.0)
    encoder.close()


@pytest.mark.parametrize(('backend', 'far'), [('pyav', True), ('opencv', False)], indirect=['backend'])
def test_what_a_writer_reaches(backend: str, far: bool, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / 'a.mp4', 10.0) as writer:
        assert writer.reaches(1000.0)
        writer.write(np.zeros((16, 16, 3), np.uint8), 0.0)
        assert writer.reaches(59.0) and writer.reaches(61.0) == far


def test_the_images_of_a_folder(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        cv2.imwrite(str(tmp_path / f'frame_{number}.PNG'), np.full((HEIGHT, WIDTH, 3), number, np.uint8))
    (tmp_path / '._frame_1.PNG').write_bytes(b'of a file system')
    (tmp_path / 'frame_2.png').write_bytes(b'no image')

    reader, frames = read(tmp_path)
    assert greys(frames) == [1, 9, 10]
    assert times(frames) == [0, 0.133, 0.2]  # as if the damaged one were there
    assert (reader.declared, reader.delivered, reader.damaged) == (4, 3, 1)
    assert 'frame_2.png' in reader.summary()


def test_one_frame_is_not_called_frames() -> None:
    reader, _ = read([np.zeros((HEIGHT, WIDTH, 3), np.uint8)])
    assert reader.summary().startswith('1 frame,')


@pytest.mark.parametrize(
    ('stamps', 'expected'),
    [
        ([5, 5.1, 5.5], [0, 0.1, 0.5]),
        ([None, None, None], [0, 0.1, 0.2]),
        ([5, 5.1, None, 5.3], [0, 0.1, 0.2, 0.3]),
        ([0, 0.9, 0.2, 1.0], [0, 0.9, 0.9125, 1.0]),
        ([9, 9.1, 0, 0.1, 0.2, 0.3], [0, 0.1, 0.1125, 0.125, 0.225, 0.325]),
        ([0, 0, 0, 0, 0.9], [0, 0.1, 0.2, 0.3, 0.9]),
    ],
    ids=['late start', 'missing', 'one missing', 'out of order', 'jump back', 'all equal'],
)
def test_the_clock_never_stops(stamps: list[float | None], expected: list[float]) -> None:
    clock = Clock(10)
    assert [clock(stamp) for stamp in stamps] == pytest.approx(expected)


# Writing


@pytest.mark.parametrize('suffix', ['.mp4', '.webm', '.mkv', '.MP4'])
def test_times_are_written(suffix: str, backend: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / 'new' / f'video{suffix}'
    with VideoWriter(path, fps=10) as writer:
        for number, time in enumerate(VARIABLE):
            writer.write(picture(number), time)
        assert not path.exists(), 'the file appears when it is whole'
    assert [file.name for file in path.parent.iterdir()] == [path.name]

    frames = read(path)[1]
    shown = dict(zip(times(frames), greys(frames), strict=True))
    for number, time in enumerate(VARIABLE):
        assert abs(shown[time] - level(number)) <= 4, time
    assert len(frames) == (len(VARIABLE) if backend == 'pyav' else 31)


def test_without_times_frames_follow_each_other(backend: str, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / 'video.mp4', fps=29.97) as writer:
        for number in range(5):
            writer.write(picture(number))
        writer.write(picture(5), 0.5)
        writer.write(picture(6))

    reader, frames = read(tmp_path / 'video.mp4')
    expected = [*(number / 29.97 for number in range(5)), 0.5, 0.5 + 1 / 29.97]
    if backend == 'pyav':
        assert [frame.time for frame in frames] == pytest.approx(expected, abs=2e-4)
    else:
        assert reader.fps == pytest.approx(29.97, abs=0.01)


@pytest.mark.parametrize('suffix', ['.mp4', '.webm', '.mkv'])
def test_a_video_names_its_colours(suffix: str, tmp_path: Path) -> None:
    if av is None:
        pytest.skip('needs PyAV')
    # Players take the colours of a large video that names none for BT.709, those of a small one for BT.601.
    path, red = tmp_path / f'video{suffix}', (255, 0, 0)
    with VideoWriter(path, fps=5) as writer:
        writer.write(np.full((64, 64, 3), red, dtype=np.uint8))

    with av.open(path) as video:
        (frame,) = video.decode(video=0)
        assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 1)
        stored = frame.to_ndarray()
    np.testing.assert_allclose(stored[[0, 64, 80], 0], [63, 102, 240], atol=1)  # Y, U and V of red in BT.709
    assert np.abs(read(path)[1][0].image[32, 32].astype(int) - red[::-1]).max() <= 2


def test_an_error_leaves_the_older_video(backend: str, tmp_path: Path) -> None:
    path = tmp_path / 'video.mp4'
    path.write_bytes(b'mine')

    with pytest.raises(RuntimeError), VideoWriter(path, fps=5) as writer:
        writer.write(picture(0))
        raise RuntimeError
    assert path.read_bytes() == b'mine'
    assert list(tmp_path.iterdir()) == [path]


def test_the_video_that_is_read_is_not_replaced(backend: str, tmp_path: Path) -> None:
    path = tmp_path / 'video.mp4'
    with VideoWriter(path, fps=5) as writer:
        for number in range(3):
            writer.write(picture(number))
    before = path.read_bytes()
    (tmp_path / 'link.mp4').symlink_to(path)

    for output in (path, tmp_path / 'link.mp4'):
        with pytest.raises(ValueError, match='being read'), VideoWriter(output, fps=5) as writer:
            for image in read_frames(path):
                writer.write(image)
    assert path.read_bytes() == before
    with VideoWriter(path, fps=5) as writer:
        writer.write(picture(0))
    assert path.read_bytes() != before, 'nobody reads it any more'


@pytest.mark.parametrize('wrong', [0.3, 0.2, -1.0, float('nan'), float('inf')])
def test_times_must_increase(wrong: float, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / 'video.mp4', fps=5) as writer:
        writer.write(picture(0), 0.3)
        with pytest.raises(ValueError, match=r'video\.mp4: .*times must increase'):
            writer.write(picture(1), wrong)


@pytest.mark.parametrize('fps', [0, -1, float('nan'), float('inf')])
def test_the_rate_is_checked(fps: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='fps'):
        VideoWriter(tmp_path / 'video.mp4', fps)


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    for name in ('video', 'video.avi', 'video.png'):
        with pytest.raises(ValueError, match=r'must end in one of \.mp4'):
            VideoWriter(tmp_path / name, 5)


def test_a_link_to_nothing_is_left_out(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'f1.png'), np.full((HEIGHT, WIDTH, 3), 1, np.uint8))
    (tmp_path / 'f2.png').symlink_to('nowhere.png')
    reader, frames = read(tmp_path)
    assert greys(frames) == [1] and reader.damaged == 1


def test_a_file_named_after_a_time(
    backend: str, make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg would look for a protocol called 12."""
    monkeypatch.chdir(tmp_path)
    make_video('a.mp4').rename('12:30.mp4')
    assert read('12:30.mp4')[1]
