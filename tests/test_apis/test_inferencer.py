"""Programming interface: images, folders, videos and streams in, maps out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmmtl.apis import MultiTaskInferencer
from mmmtl.io import VideoWriter, read_frames
from mmmtl.models import MultiTaskSegmentor
from mmmtl.structures import MultiTaskDataSample
from mmmtl.visualization.panels import GAP
from mmmtl.visualization.text import BLUE

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
HEIGHT, WIDTH = 32, 64
LINE = 18
"""Height of a caption."""


def build(name: str, **kwargs: Any) -> MultiTaskInferencer:
    """A model whose maps are not flat, unlike those of fresh weights."""
    torch.manual_seed(0)
    inferencer = MultiTaskInferencer(CONFIGS / f'{name}.py', device='cpu', **kwargs)
    with torch.no_grad():
        for name, layers in inferencer.model.decode_head.predict.items():
            layers[-1].weight *= 100
            layers[-1].bias += 2.0 if name == 'depth' else 0.0
    inferencer.trained = True
    return inferencer


@pytest.fixture(scope='module')
def video_model() -> MultiTaskInferencer:
    return build('tiny_video')


@pytest.fixture(scope='module')
def image_model() -> MultiTaskInferencer:
    return build('tiny_image')


def make_frames(count: int, height: int = HEIGHT, width: int = WIDTH) -> list[np.ndarray]:
    """A bright square that moves over a gradient."""
    frames = []
    for time in range(count):
        frame = np.zeros((height, width, 3), dtype=np.uint8)
        frame[..., 0] = np.linspace(0, 255, width)
        frame[..., 1] = np.linspace(0, 255, height)[:, None]
        frame[8:24, 4 * time : 4 * time + 16, 2] = 255
        frames.append(frame)
    return frames


def assert_same(first: dict[str, np.ndarray], second: dict[str, Any]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_allclose(value, np.asarray(second[name]), atol=1e-5, err_msg=name)


def preprocess(model: MultiTaskSegmentor, frame: np.ndarray) -> torch.Tensor:
    pixels = torch.from_numpy(frame.transpose(2, 0, 1).copy())
    return model.data_preprocessor({'inputs': [pixels]})['inputs']


# Images


@pytest.mark.parametrize('which', ['image_model', 'video_model'])
def test_a_picture_gives_a_map_for_each_task(which: str, request: pytest.FixtureRequest) -> None:
    maps = request.getfixturevalue(which)(make_frames(1)[0])

    assert {name: (value.shape, value.dtype) for name, value in maps.items()} == {
        'semseg': ((1, HEIGHT, WIDTH), np.int64),
        'depth': ((1, HEIGHT, WIDTH), np.float32),
        'normals': ((3, HEIGHT, WIDTH), np.float32),
    }
    assert set(np.unique(maps['semseg'])) <= set(range(7))
    assert len(np.unique(maps['semseg'])) > 1
    assert 0 < maps['depth'].min() < maps['depth'].max() <= 20
    np.testing.assert_allclose(np.linalg.norm(maps['normals'], axis=0), 1, atol=1e-4)


def test_the_maps_are_those_of_a_test_run(image_model: MultiTaskInferencer) -> None:
    frame = make_frames(1, 27, 45)[0]
    sample = MultiTaskDataSample(metainfo={'img_shape': (27, 45), 'ori_shape': (27, 45)})
    maps = image_model(frame)
    with torch.no_grad():
        (sample,) = image_model.model.eval().predict(preprocess(image_model.model, frame), [sample])

    assert_same(maps, dict(sample.pred.items()))


def test_without_labels_the_maps_of_a_model_have_the_size_of_the_image(image_model: MultiTaskInferencer) -> None:
    sample = MultiTaskDataSample(metainfo={'img_shape': (HEIGHT, WIDTH), 'ori_shape': (48, 96)})
    (sample,) = image_model.model.predict(preprocess(image_model.model, make_frames(1)[0]), [sample])

    assert sample.pred.depth.shape == (1, 48, 96)


def test_a_file_is_read_as_an_array_is(image_model: MultiTaskInferencer, tmp_path: Path) -> None:
    frame = make_frames(1)[0]
    path = tmp_path / 'image.png'
    cv2.imwrite(str(path), frame)

    expected = image_model(frame)
    assert_same(image_model(path), expected)
    assert_same(image_model(str(path)), expected)
    alone, again = image_model([path, frame])
    assert_same(alone, expected)
    assert_same(again, expected)


def test_a_video_model_takes_a_picture_for_the_first_frame(video_model: MultiTaskInferencer) -> None:
    frames = make_frames(2)

    (_, first), (_, second) = video_model.stream(frames)

    assert_same(video_model(frames[0]), first)
    assert not np.allclose(video_model(frames[1])['depth'], second['depth'])


@pytest.mark.parametrize(('height', 'width'), [(64, 128), (17, 21)])
def test_pictures_are_brought_to_the_wanted_size(height: int, width: int) -> None:
    inferencer = build('tiny_video', size=(HEIGHT, WIDTH))

    ((frame, maps),) = inferencer.stream(make_frames(1, height, width))

    assert frame.shape == (HEIGHT, WIDTH, 3)
    assert maps['depth'].shape == (1, HEIGHT, WIDTH)
    assert inferencer(make_frames(1, height, width)[0])['semseg'].shape == (1, HEIGHT, WIDTH)


def test_a_file_that_is_no_picture_is_refused(image_model: MultiTaskInferencer, tmp_path: Path) -> None:
    (tmp_path / 'notes.jpg').write_text('not an image')

    with pytest.raises(ValueError, match=r'notes\.jpg: not a readable image'):
        image_model(tmp_path / 'notes.jpg')
    with pytest.raises(FileNotFoundError, match=r'none\.jpg'):
        image_model(tmp_path / 'none.jpg')


# Streams


def test_maps_that_are_not_finite_name_their_image_and_leave_the_others(
    image_model: MultiTaskInferencer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, frame in zip('abc', make_frames(3), strict=True):
        cv2.imwrite(str(tmp_path / f'{name}.png'), frame)
    step, count = image_model.model.step, 0

    def broken(*args: Any) -> Any:
        nonlocal count
        count += 1
        found = step(*args)
        if count in (2, 4):
            found.logits['depth'][:] = torch.nan
        return found

    monkeypatch.setattr(image_model.model, 'step', broken)
    with pytest.warns(UserWarning, match=r"b\.png: the logits of depth are not finite.*b\.png'\]"):
        maps = image_model(tmp_path)
    assert [one is None for one in maps] == [False, True, False]
    with pytest.raises(FloatingPointError, match=r"c\.png'\]"):
        image_model(tmp_path / 'c.png')


def test_a_stream_is_that_of_the_model(video_model: MultiTaskInferencer) -> None:
    frames = make_frames(7)
    model, state = video_model.model, None

    streamed = list(video_model.stream(iter(frames)))

    assert len(streamed) == 7
    with torch.no_grad():
        for frame, (seen, maps) in zip(frames, streamed, strict=True):
            logits, _, state = model.step(preprocess(model, frame), state)
            assert (seen == frame).all()
            assert_same(maps, dict(model.decode(logits, (HEIGHT, WIDTH))[0].items()))


def test_steps_with_a_state_in_the_callers_hands_are_the_stream(
    video_model: MultiTaskInferencer, image_model: MultiTaskInferencer
) -> None:
    frames = make_frames(7)
    for inferencer, key_frames in ((video_model, [0, 5]), (image_model, [])):
        state, found = None, []
        for frame, (_, maps) in zip(frames, inferencer.stream(frames), strict=True):
            prediction = inferencer.step(frame, state)
            state = prediction.state
            found.append(prediction.is_key)
            assert (prediction.image == frame).all()
            assert_same(prediction.maps, maps)
        assert [time for time, is_key in enumerate(found) if is_key] == key_frames
        assert state is not None
        assert (state.frames.tolist(), state.key_frames.tolist()) == ([7], [len(key_frames)])


def test_two_streams_do_not_mix(video_model: MultiTaskInferencer) -> None:
    frames = make_frames(4)
    alone = [maps for _, maps in video_model.stream(frames)]
    first, second = video_model.stream(frames), video_model.stream(frames[::-1])

    for expected in alone:
        _, maps = next(first)
        next(second)
        assert_same(maps, expected)


def test_an_image_model_sees_each_frame_alone(image_model: MultiTaskInferencer) -> None:
    frames = make_frames(3)

    for frame, (_, maps) in zip(frames, image_model.stream(frames), strict=True):
        assert_same(maps, image_model(frame))


def test_a_folder_is_a_video(tmp_path: Path, image_model: MultiTaskInferencer) -> None:
    for number in (10, 9, 1):
        cv2.imwrite(str(tmp_path / f'frame_{number}.png'), np.full((HEIGHT, WIDTH, 3), number, np.uint8))

    assert [int(frame[0, 0, 0]) for frame in read_frames(tmp_path)] == [1, 9, 10]
    assert [int(frame[0, 0, 0]) for frame, _ in image_model.stream(str(tmp_path))] == [1, 9, 10]


def test_a_folder_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='frame.*folder'):
        list(read_frames(tmp_path))


def test_a_video_comes_back_as_it_was_written(tmp_path: Path, video_model: MultiTaskInferencer) -> None:
    frames = make_frames(8)
    path = tmp_path / 'new' / 'video.mp4'
    with VideoWriter(path, fps=10) as writer:
        for frame in frames:
            writer.write(frame[..., ::-1])

    capture = cv2.VideoCapture(str(path))
    assert int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, 'little').lower() in (b'vp09', b'vp90')
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    read = list(read_frames(path))
    assert [frame.shape for frame in read] == [(HEIGHT, WIDTH, 3)] * 8
    for before, after in zip(frames, read, strict=True):
        assert np.abs(before.astype(int) - after).mean() < 20, 'colours are in their order, but for compression'
    streamed = list(video_model.stream(str(path)))
    assert len(streamed) == 8
    for (seen, maps), (_, expected) in zip(streamed, video_model.stream(read), strict=True):
        assert seen.shape == (HEIGHT, WIDTH, 3)
        assert_same(maps, expected)


def test_what_cannot_be_opened_as_a_video_is_refused(tmp_path: Path, video_model: MultiTaskInferencer) -> None:
    (tmp_path / 'notes.mp4').write_text('no video')

    with pytest.raises(ValueError, match=r'notes\.mp4'):
        next(video_model.stream(tmp_path / 'notes.mp4'))
    with pytest.raises(FileNotFoundError, match=r'none\.mp4: no such video'):
        next(video_model.stream(str(tmp_path / 'none.mp4')))
    with pytest.raises(ValueError, match='99: cannot be opened'):
        next(video_model.stream(99))


# Writing


def test_a_frame_that_does_not_fit_the_video_is_refused(tmp_path: Path) -> None:
    frame = make_frames(1)[0]
    with VideoWriter(tmp_path / 'video.mp4', fps=5) as writer:
        writer.write(frame)
        for wrong in (frame[:-2], frame[..., 0], frame.astype(np.float32)):
            with pytest.raises(ValueError, match=r'video\.mp4: frames must be .* after \(32, 64, 3\)'):
                writer.write(wrong)
        writer.write(frame)

    assert len(list(read_frames(tmp_path / 'video.mp4'))) == 2


def test_odd_sizes_lose_a_row_and_a_column(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / 'video.mp4', fps=5) as writer:
        writer.write(make_frames(1, 33, 65)[0])

    assert [frame.shape for frame in read_frames(tmp_path / 'video.mp4')] == [(32, 64, 3)]


def test_no_frame_makes_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / 'video.mp4', fps=5):
        pass

    assert not (tmp_path / 'video.mp4').exists()


def test_a_video_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / 'video.mp4').mkdir()

    with pytest.raises(ValueError, match='cannot write'), VideoWriter(tmp_path / 'video.mp4', fps=5) as writer:
        writer.write(make_frames(1)[0])


def test_a_panel_shows_the_frame_and_every_task(video_model: MultiTaskInferencer) -> None:
    frame = make_frames(1)[0]

    panel = video_model.panel(frame, video_model(frame))

    # Two columns of tiles, four times as large as the maps.
    assert panel.shape[1] == 2 * 4 * WIDTH + GAP
    assert (panel[LINE : LINE + 4 * HEIGHT : 4, : 4 * WIDTH : 4] == frame[..., ::-1]).all()
    titled = video_model.panel(frame, video_model(frame), title='frame 0', mark=True)
    assert (titled[0] == BLUE).all() and (titled[LINE:] == panel).all()


# Weights


def save(path: Path, inferencer: MultiTaskInferencer, tasks: dict[str, Any]) -> Path:
    meta = {'dataset_meta': {'tasks': tasks}}
    torch.save({'state_dict': inferencer.model.state_dict(), 'meta': meta}, path)
    return path


def test_weights_are_loaded(video_model: MultiTaskInferencer, tmp_path: Path) -> None:
    cfg = Config.fromfile(CONFIGS / 'tiny_video.py')
    path = save(tmp_path / 'weights.pth', video_model, cfg.tasks.to_dict())
    torch.manual_seed(1)
    frame = make_frames(1)[0]

    assert_same(MultiTaskInferencer(str(CONFIGS / 'tiny_video.py'), path, device='cpu')(frame), video_model(frame))
    assert not np.allclose(MultiTaskInferencer(cfg, device='cpu')(frame)['depth'], video_model(frame)['depth'])


def test_weights_of_more_tasks_serve_for_some(video_model: MultiTaskInferencer, tmp_path: Path) -> None:
    cfg = Config.fromfile(CONFIGS / 'tiny_video.py')
    path = save(tmp_path / 'weights.pth', video_model, cfg.tasks.to_dict())
    cfg.use_tasks = ['depth']
    frame = make_frames(1)[0]

    maps = MultiTaskInferencer(cfg, path, device='cpu')(frame)

    assert list(maps) == ['depth']
    np.testing.assert_allclose(maps['depth'], video_model(frame)['depth'], atol=1e-5)


def test_weights_of_other_tasks_are_refused(video_model: MultiTaskInferencer, tmp_path: Path) -> None:
    cfg = Config.fromfile(CONFIGS / 'tiny_video.py')
    only_depth = save(tmp_path / 'depth.pth', video_model, {'depth': cfg.tasks.depth.to_dict()})
    cfg.tasks.semseg.classes = 'nyuv2_13'

    with pytest.raises(ValueError, match=r"\['semseg', 'normals'\]"):
        MultiTaskInferencer(CONFIGS / 'tiny_video.py', only_depth)
    both = save(tmp_path / 'both.pth', video_model, Config.fromfile(CONFIGS / 'tiny_video.py').tasks.to_dict())
    with pytest.raises(ValueError, match="'semseg'.*classes="):
        MultiTaskInferencer(cfg, both)


def test_weights_of_another_model_are_refused(image_model: MultiTaskInferencer, tmp_path: Path) -> None:
    torch.save(image_model.model.state_dict(), tmp_path / 'image.pth')

    with pytest.raises(ValueError, match=r'weight.*missing'):
        MultiTaskInferencer(CONFIGS / 'tiny_video.py', tmp_path / 'image.pth')
    MultiTaskInferencer(CONFIGS / 'tiny_image.py', tmp_path / 'image.pth', device='cpu')


def test_an_unknown_component_is_refused_with_the_nearest_names() -> None:
    cfg = Config.fromfile(CONFIGS / 'tiny_video.py')
    cfg.model.neck.type = 'ILANek'

    with pytest.raises(ValueError, match=r'cfg\.model\.neck\.type.*ILANeck'):
        MultiTaskInferencer(cfg)
