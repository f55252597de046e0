"""What users give as images: files, folders, patterns, lists, URLs, arrays, Pillow's images; and the sizes of maps."""

from __future__ import annotations

import contextlib
import functools
import random
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmmtl.apis import MultiTaskInferencer
from mmmtl.apis.fitting import fit_image, fit_inside
from mmmtl.visualization.text import RED

CONFIG = Path(__file__).resolve().parents[1] / 'configs' / 'tiny_image.py'
RESIZE = dict(type='Resize', size=(32, 64))


def build(size: Any = 'input', name: str = 'tiny_image') -> MultiTaskInferencer:
    """A model for images of 32x64."""
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIG.with_name(f'{name}.py'))
    cfg.test_dataloader.dataset.pipeline.insert(1, RESIZE)
    inferencer = MultiTaskInferencer(cfg, device='cpu', size=size)
    with torch.no_grad():
        for layers in inferencer.model.decode_head.predict.values():
            layers[-1].weight *= 100
    return inferencer


@pytest.fixture(scope='module')
def inferencer() -> MultiTaskInferencer:
    return build()


def photo(height: int = 48, width: int = 64) -> np.ndarray:
    """A gradient, BGR: dark above, light below."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, height)[:, None]
    image[..., 2] = np.linspace(0, 255, width)
    return image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images, of which one is cut, and a text."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    for name in ('a.png', 'b.JPG', 'c.jpg'):
        assert cv2.imwrite(str(folder / name), photo())
    (folder / 'c.jpg').write_bytes((folder / 'c.jpg').read_bytes()[:100])
    (folder / '._a.png').write_bytes(b'of a file system')
    (folder / 'notes.txt').write_text('no image')
    return folder


def same(first: Any, second: Any) -> bool:
    return all(np.array_equal(first[name], second[name]) for name in first)


# Several images


def test_a_folder_a_pattern_and_a_list(inferencer: MultiTaskInferencer, photos: Path) -> None:
    one = inferencer(photos / 'a.png')
    given = [photos / 'a.png', str(photos / 'c.jpg'), photo(), photos / 'none.jpg']

    for images, right in (
        (photos, [True, True, False]),
        (f'{photos}/*.jpg', None),
        (f'{photos}/[ab]*', [True, True]),
        (given, [True, False, True, False]),
        ((path for path in given), [True, False, True, False]),
        ([photos, photo()], [True, True, False, True]),
    ):
        if right is None:
            with pytest.raises(ValueError, match=r'c\.jpg'):
                inferencer(images)
            continue
        if all(right):
            found = inferencer(images)
        else:
            with pytest.warns(UserWarning, match=r'left out:\n(.|\n)*c\.jpg'):
                found = inferencer(images)
        assert [maps is not None for maps in found] == right
        assert same(one, found[0])


def test_what_became_of_each_image(inferencer: MultiTaskInferencer, photos: Path) -> None:
    found = list(inferencer.predict_each(photos))

    assert [Path(one.name).name for one in found] == ['a.png', 'b.JPG', 'c.jpg']
    assert [one.error is None for one in found] == [True, True, False]
    assert found[0].image is not None and np.array_equal(found[0].image, photo())
    assert found[2].maps is None and str(photos) not in found[2].error


@pytest.mark.parametrize('images', ['', 'none.png', 'none*.png', 3, None, b'bytes', {}, '\0', 'x' * 5000])
def test_what_is_no_image_is_refused(images: Any, inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    with pytest.raises((ValueError, FileNotFoundError)):
        inferencer(images)


def test_a_folder_without_images_is_refused(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(tmp_path)):
        inferencer(tmp_path)


def test_images_in_subfolders_are_counted(inferencer: MultiTaskInferencer, photos: Path) -> None:
    """A folder means its own images; the warning names a pattern that means them all."""
    (photos / 'c.jpg').unlink()
    for place in ('x', 'x/y', '.hidden'):
        (photos / place).mkdir()
        cv2.imwrite(str(photos / place / 'd.png'), photo())
    with pytest.warns(UserWarning, match=rf"^{photos}: images in subfolders: 2; .* '{photos}/\*\*/\*'$"):
        assert len(inferencer(photos)) == 2
    assert len(inferencer(f'{photos}/**/*')) == 4

    (photos / 'a.png').unlink()
    (photos / 'b.JPG').unlink()
    with pytest.raises(ValueError, match=rf"^{photos}: no image .* images in subfolders: 2; .* '{photos}/\*\*/\*'$"):
        inferencer(photos)


@pytest.fixture
def server(photos: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            """Send a file, or a byte now and then, of the headers or of the image."""
            if not self.path.startswith('/drip'):
                super().do_GET()
                return
            if self.path == '/drip_body.png':
                self.send_response(200)
                self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(40):
                    self.wfile.write(b'x')
                    time.sleep(0.05)

    with ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(photos))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{http.server_port}'
        http.shutdown()


def test_a_url(inferencer: MultiTaskInferencer, server: str, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert same(inferencer(photos / 'a.png'), inferencer(f'{server}/a.png?width=3'))
    for name, message in (('none.png', '404'), ('notes.txt', 'not a readable image')):
        with pytest.raises(ValueError, match=f'{server}/{name}.*{message}'):
            inferencer(f'{server}/{name}')
    monkeypatch.setattr('mmmtl.io.image_sources.MAX_DOWNLOAD', 50)
    with pytest.raises(ValueError, match='more than 50 bytes'):
        inferencer(f'{server}/a.png')


@pytest.mark.parametrize('name', ['drip_body.png', 'drip_headers.png'])
def test_a_url_that_drips(
    name: str, inferencer: MultiTaskInferencer, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmmtl.io.image_sources.MAX_SECONDS', 0.3)
    start = time.monotonic()
    with pytest.raises(ValueError, match=rf'{server}/{name}: download did not finish within 0\.3 s'):
        inferencer(f'{server}/{name}')
    assert time.monotonic() - start < 3


# Pillow and orientation


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'P', 'CMYK', 'YCbCr'])
def test_images_of_pillow(mode: str, inferencer: MultiTaskInferencer) -> None:
    flat = Image.new('RGB', (64, 48), (10, 20, 200))
    colours = np.asarray(flat.convert(mode).convert('RGB'))

    (found,) = inferencer.predict_each([flat.convert(mode)])
    assert found.image is not None and np.array_equal(found.image, colours[..., ::-1])
    assert np.abs(np.subtract(colours, (10, 20, 200))).max() < 60


def test_grey_images_of_pillow(inferencer: MultiTaskInferencer) -> None:
    grey = inferencer(np.full((48, 64, 3), 255, np.uint8))
    for mode in ('1', 'L', 'LA'):
        assert same(grey, inferencer(Image.new('L', (64, 48), 255).convert(mode)))
    for mode in ('I', 'F', 'I;16'):
        with pytest.raises(ValueError, match=f'mode {mode} '):
            inferencer(Image.new(mode, (64, 48)))


ORIENTATIONS = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    6: lambda image: image.transpose(1, 0, 2)[:, ::-1],
    8: lambda image: image.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize('orientation', ORIENTATIONS)
def test_photographs_are_turned_upright(orientation: int, inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(photo()[..., ::-1])
    stored.save(tmp_path / 'phone.jpg', exif=exif, quality=100, subsampling=0)
    upright = ORIENTATIONS[orientation](photo())

    for source in (tmp_path / 'phone.jpg', Image.open(tmp_path / 'phone.jpg')):
        (one,) = inferencer.predict_each([source])
        assert one.image is not None and one.maps is not None
        assert one.image.shape == upright.shape
        assert np.abs(one.image.astype(int) - upright).mean() < 3
        assert one.maps['depth'].shape[1:] == upright.shape[:2]


def test_a_frame_of_a_folder_is_turned_upright(inferencer: MultiTaskInferencer, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo()).save(tmp_path / '1.jpg', exif=exif)
    ((frame, maps),) = inferencer.stream(tmp_path)
    assert frame.shape == (64, 48, 3) and maps['depth'].shape == (1, 64, 48)


# Arrays


@pytest.mark.parametrize(
    ('array', 'fix'),
    [
        (np.zeros((4, 4), np.uint8), 'COLOR_GRAY2BGR'),
        (np.zeros((4, 4, 1), np.uint8), 'COLOR_GRAY2BGR'),
        (np.zeros((4, 4, 4), np.uint8), r'\[..., :3\]'),
        (np.zeros((3, 4, 8), np.uint8), r'transpose\(1, 2, 0\)'),
        (np.zeros((4, 4, 3), np.float32), '255'),
        (np.zeros((4, 4, 3), np.uint16), '257'),
        (np.zeros((4, 4, 3), np.int64), 'uint8'),
        (np.zeros((4, 4, 3), bool), 'uint8'),
        (np.zeros((0, 4, 3), np.uint8), 'no pixels'),
        (np.zeros((2, 4, 4, 3), np.uint8), 'list'),
        (np.array([None]), 'uint8'),
    ],
)
def test_other_arrays_are_refused_with_the_fix(array: np.ndarray, fix: str, inferencer: MultiTaskInferencer) -> None:
    for call in (inferencer, inferencer.step, lambda image: next(inferencer.stream([image]))):
        with pytest.raises(ValueError, match=rf'must be \(H, W, 3\) uint8 BGR, not .*{fix}'):
            call(array)


def test_strides_do_not_matter(inferencer: MultiTaskInferencer) -> None:
    image = photo()
    expected = inferencer(image)
    stored = np.zeros((96, 128, 3), np.uint8)
    stored[::2, ::2] = image
    for same_image in (image[::-1].copy()[::-1], np.asfortranarray(image), stored[::2, ::2]):
        assert same(expected, inferencer(same_image))


def test_arrays_of_any_kind_are_read_or_refused(inferencer: MultiTaskInferencer) -> None:
    """No other exception, and maps of the right size."""
    rng, accepted = random.Random(0), 0
    kinds = ['u1'] * 8 + ['i1', 'u2', 'i4', 'f2', 'f4', 'f8', '?', 'c8', 'O', 'U3', 'M8[s]']
    for _ in range(200):
        shape = [rng.choice([0, 1, 2, 3, 5, 33, 90]) for _ in range(rng.choice([0, 1, 2, 3, 3, 3, 3, 4]))]
        shape = [*shape[:2], 3] if len(shape) == 3 and rng.random() < 0.7 else shape
        array = np.zeros(shape, rng.choice(kinds))
        try:
            maps = inferencer(array)
        except ValueError as error:
            assert 'an image must be' in str(error)
            continue
        accepted += 1
        assert {name: value.shape[1:] for name, value in maps.items()} == dict.fromkeys(maps, array.shape[:2])
    assert 20 < accepted < 150


# Sizes


@pytest.mark.parametrize(
    ('size', 'inputs', 'maps'),
    [
        ('input', (32, 43), (48, 64)),
        ('letterbox', (32, 64), (48, 64)),
        ('model', (32, 64), (32, 64)),
        ((16, 24), (16, 24), (16, 24)),
        (None, (48, 64), (48, 64)),
    ],
)
def test_sizes(size: Any, inputs: tuple[int, int], maps: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    inferencer, seen = build(size), []
    step = inferencer.model.step
    monkeypatch.setattr(inferencer.model, 'step', lambda x, state: seen.append(x.shape) or step(x, state))

    ((frame, found),) = inferencer.stream([photo()])

    assert seen == [(1, 3, *inputs)]
    assert frame.shape == (*maps, 3)
    assert {value.shape[1:] for value in found.values()} == {maps}
    assert {value.shape[1:] for value in inferencer(photo()).values()} == {maps}


def test_bars_do_not_reach_the_maps() -> None:
    """A letterbox gives nearly the maps of 'input', and its bars are below and to the right."""
    fitted = fit_image(np.full((48, 64, 3), 7, np.uint8), 'letterbox', (32, 64))
    assert fitted.shown == (32, 43)
    assert (fitted.inputs[:, :43] == 7).all() and (fitted.inputs[:, 43:] == (104, 116, 124)).all()


@pytest.mark.parametrize(
    ('size', 'box', 'expected'),
    [
        ((360, 480), (64, 128), (64, 85)),
        ((1, 5000), (32, 64), (1, 64)),
        ((5000, 1), (32, 64), (32, 1)),
        ((2, 2), (9, 7), (7, 7)),
    ],
)
def test_the_largest_size_inside(size: tuple[int, int], box: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fit_inside(size, box) == expected


@pytest.mark.parametrize('size', ['config', 'Input', 5, (5,), (0, 5), (5.0, 5), (1, 2, 3)])
def test_other_sizes_are_refused(size: Any) -> None:
    with pytest.raises(ValueError, match="size must be 'input'"):
        build(size)


def test_a_letterbox_needs_a_size() -> None:
    with pytest.raises(ValueError, match='letterbox'):
        MultiTaskInferencer(CONFIG, device='cpu', size='letterbox')


# Streams


def test_a_stream_yields_copies_and_refuses_another_size(inferencer: MultiTaskInferencer) -> None:
    buffer = photo()
    stream = inferencer.stream([buffer, photo(), photo(50, 64)])

    frame, _ = next(stream)
    assert np.array_equal(frame, buffer) and not np.shares_memory(frame, buffer)
    next(stream)
    with pytest.raises(ValueError, match=r'\(50, 64\).*\(48, 64\)'):
        next(stream)
    assert not np.shares_memory(inferencer.step(buffer).image, buffer)


def test_images_of_pillow_keep_their_colours_in_a_stream(inferencer: MultiTaskInferencer) -> None:
    ((frame, _),) = inferencer.stream([Image.fromarray(photo()[..., ::-1])])
    assert np.array_equal(frame, photo())
    for wrong in (torch.zeros(3, 4, 4), [[0]], None):
        with pytest.raises(ValueError, match='an image must be'):
            inferencer.step(wrong)


def test_streams_in_a_batch_are_those_alone() -> None:
    inferencer = build(name='tiny_video')
    first, second = [photo() + shift for shift in range(4)], [photo()[::-1] + shift for shift in range(4)]
    alone = [[maps for _, maps in inferencer.stream(frames)] for frames in (first, second)]

    state = None
    for number, frames in enumerate(zip(first, second, strict=True)):
        images, maps, is_key, state = inferencer.step_streams(frames, state)
        assert is_key == [number == 0] * 2
        for row in (0, 1):
            assert np.array_equal(images[row], frames[row])
            for name, value in alone[row][number].items():
                np.testing.assert_allclose(maps[row][name], value, atol=1e-4)
    with pytest.raises(ValueError, match=r"\(32, 43\).*'letterbox'"):
        inferencer.step_streams([photo(), photo(40, 64)])
    with pytest.raises(ValueError, match='no frames'):
        inferencer.step_streams([])


# Untrained weights


def test_untrained_weights_are_named(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match='untrained'):
        inferencer = MultiTaskInferencer(CONFIG, device='cpu')
    image = photo()
    panel = inferencer.panel(image, inferencer(image))
    assert (panel[0] == RED).all()
    torch.save(inferencer.model.state_dict(), tmp_path / 'weights.pth')

    trained = MultiTaskInferencer(CONFIG, tmp_path / 'weights.pth', device='cpu')
    assert np.array_equal(trained.panel(image, trained(image)), panel[18:])
