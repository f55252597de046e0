"""The runner without mmmtl: its resizing, decoding and key frames against ours, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmmtl.apis import MultiTaskInferencer
from mmmtl.apis.fitting import fit_inside
from mmmtl.export import OnnxStream, onnx_stream
from mmmtl.io import resize_image
from mmmtl.models.segmentors import CostBudget, FixedInterval, FrameChange
from mmmtl.registry import TASKS
from mmmtl.structures import StreamState

from .conftest import RUN, SIZE, VIDEO, make, moving

BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'mmmtl', 'mmengine', 'mmcv', 'cv2', 'onnx'):
            raise ImportError(f'{name} is blocked')

sys.meta_path.insert(0, Blocked())
"""


def agree(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], inexact: float = 1e-4) -> None:
    """Maps are equal: classes but for some pixels on a border, numbers but for rounding."""
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert ours[name].shape == array.shape and ours[name].dtype == array.dtype, name
        if array.dtype.kind == 'i':
            assert (ours[name] != array).mean() < 1e-2, name
        else:
            np.testing.assert_allclose(ours[name], array, atol=inexact * np.abs(array).max(), err_msg=name)


@pytest.mark.parametrize('size', [SIZE, (40, 70)], ids=['at its size', 'letterbox'])
def test_maps_without_mmmtl_are_those_of_the_inferencer(
    exported: Path, video: MultiTaskInferencer, tmp_path: Path, size: tuple[int, int]
) -> None:
    frames = moving(7, size)
    np.save(tmp_path / 'frames.npy', np.stack(frames))
    command = [
        sys.executable,
        '-I',
        '-c',
        BLOCK + RUN,
        str(exported),
        str(tmp_path / 'frames.npy'),
        str(tmp_path / 'maps.npz'),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    found, state, kinds = np.load(tmp_path / 'maps.npz'), None, set()
    for number, frame in enumerate(frames):
        _, maps, is_key, state = video.step(frame[..., ::-1], state)
        assert found[f'{number}.is_key'] == is_key
        kinds.add(is_key)
        agree({name: found[f'{number}.{name}'] for name in maps}, maps, 1e-4 if size == SIZE else 1e-2)
    assert kinds == {True, False}


def test_stretching_gives_maps_of_the_models_size(exported: Path) -> None:
    frame = moving(1, (50, 40))[0]
    maps = OnnxStream(exported, stretch=True).step(frame).maps
    _, expected, _, _ = make(VIDEO, 'model').step(frame[..., ::-1])
    assert all(array.shape[1:] == SIZE for array in maps.values())
    agree(maps, expected, 1e-2)


def test_bars_and_padding_are_below_and_to_the_right(exported: Path) -> None:
    stream = OnnxStream(exported)
    stream.spec |= dict(size=[20, 30], size_divisor=16, bars=[10, 20, 30], mean=[1, 1, 1], std=[2, 2, 2])
    inputs, shown = stream.prepare(np.full((10, 10, 3), 7, np.uint8))
    assert shown == (20, 20) and inputs.shape == (1, 3, 32, 32)
    assert (inputs[..., :20, :20] == 3).all() and (inputs[..., 20:, :] == 0).all() and (inputs[..., 30:] == 0).all()
    assert (inputs[0, :, :20, 20:30] == np.reshape([4.5, 9.5, 14.5], (3, 1, 1))).all()
    # The description is that of the padded size.
    spec = stream.spec | dict(kind='image', reads={'image': []}, state={})
    outputs: dict[str, list[int | None]] = {'logits.semseg': [3, 32, 32], 'logits.depth': [1, 32, 32]}
    graph = onnx_stream.Graph(None, {'frames': [3, 32, 32]}, outputs, lambda feed: feed)
    assert onnx_stream.wrong_tensor(spec, graph) is None
    assert 'frames' in onnx_stream.wrong_tensor(spec, graph._replace(inputs={'frames': [3, 20, 30]}))
    assert 'logits.depth' in onnx_stream.wrong_tensor(spec, graph._replace(outputs={**outputs, 'logits.depth': []}))
    stream.spec['dynamic_size'] = True  # no bars, but padding
    inputs, _ = stream.prepare(np.full((10, 10, 3), 7, np.uint8))
    assert inputs.shape == (1, 3, 32, 32) and (inputs[..., :20, 20:] == 0).all()


def test_images_are_fitted_as_ours() -> None:
    sizes = [(1, 5000), (5000, 1), (2, 2), (360, 480), (40, 70), (479, 641), (33, 47)]
    for size in sizes:
        for box in ((64, 128), (9, 7), SIZE):
            assert onnx_stream.fit_inside(size, box) == fit_inside(size, box)


def test_memories_of_frames_that_the_stride_does_not_divide() -> None:
    spec = {'state': {'a': dict(channels=3, stride=4), 'b': dict(channels=1, stride=1)}}
    assert onnx_stream.memory_shapes(spec, (30, 49)) == {'a': [3, 8, 13], 'b': [1, 30, 49]}
    assert onnx_stream.memory_shapes(spec, (None, None))['a'] == [3, None, None]


def test_settings_reach_onnxruntime(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip('onnxruntime')
    session, given = onnxruntime.InferenceSession, []

    def note(path: str, options: Any, *, providers: list[str]) -> Any:
        given.append((options.intra_op_num_threads, providers))
        return session(path, options, providers=['CPUExecutionProvider'])

    monkeypatch.setattr(onnxruntime, 'InferenceSession', note)
    monkeypatch.setattr(onnxruntime, 'get_available_providers', lambda: ['Other', 'CPUExecutionProvider'])
    OnnxStream(exported)
    OnnxStream(exported, threads=2, providers=['Other', 'CPUExecutionProvider'])
    assert given == [(0, ['CPUExecutionProvider'])] * 2 + [(2, ['Other', 'CPUExecutionProvider'])] * 2


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(exported: Path, value: float) -> None:
    stream = OnnxStream(exported)
    inputs, shown = stream.prepare(moving(1, SIZE)[0])
    logits, _, _ = stream.advance(inputs)
    logits['depth'][0, 0, 3, 4] = value
    with pytest.raises(FloatingPointError, match="'depth'"):
        stream.decode(logits, shown, SIZE)


@pytest.mark.parametrize('size', [(17, 23), (50, 9), (90, 120), (31, 64), (7, 5)])
def test_images_are_resized_as_ours(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    difference = np.abs(onnx_stream.resize_image(image, size).astype(int) - resize_image(image, size))
    assert difference.max() <= 1 and difference.mean() < (0.02 if size[0] < 31 and size[1] < 47 else 1e-3)


def test_what_is_not_installed_is_named(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ImportError, match='pip install onnxruntime'):
        OnnxStream(exported)


@pytest.mark.parametrize('size', [(8, 9), (40, 21), (5, 60)])
def test_maps_are_resized_as_ours(size: tuple[int, int]) -> None:
    maps = torch.randn(4, 13, 17, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(maps[None], size, mode='bilinear')[0]
    np.testing.assert_allclose(onnx_stream.resize_bilinear(maps.numpy(), size), expected, atol=2e-5)


def test_every_task_of_the_package_decodes_alike() -> None:
    arguments: dict[str, dict[str, Any]] = dict(
        SemanticSegmentation=dict(classes=['a', 'b', 'c']), DepthEstimation=dict(max_depth=4.0, scale=2.0)
    )
    tasks = [
        kind(name='x', **arguments.get(name, {}))
        for name, kind in TASKS.module_dict.items()
        if kind.__module__.startswith('mmmtl.')
    ]
    assert len(tasks) >= 6
    for task in tasks:
        logits = 3 * torch.randn(1, task.out_channels, 6, 7, generator=torch.Generator().manual_seed(0))
        decoding = task.decoding()
        found = onnx_stream.DECODERS[decoding['kind']].decode(logits[0].numpy(), json.loads(json.dumps(decoding)))
        np.testing.assert_allclose(found, task.decode(logits)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    'policy',
    [
        FixedInterval(3),
        FrameChange(0.5),
        FrameChange(0.8, max_interval=4, size=(5, 7)),
        CostBudget(2.0, key_cost=5.0, non_key_cost=1.0),
        CostBudget(3.0, key_cost=5.0, non_key_cost=1.0, burst=2.0, policy=dict(type='FrameChange', threshold=0.5)),
    ],
    ids=['fixed', 'change', 'small change', 'budget', 'budget of changes'],
)
def test_key_frames_are_those_of_our_policies(policy: Any) -> None:
    rule = json.loads(json.dumps(policy.rule()))
    _, wanted, remember = onnx_stream.POLICIES[rule['kind']]
    state, theirs, chosen = onnx_stream.State(0, SIZE, {}, {}), StreamState.new(1), []
    for frame in [*[moving(1)[0]] * 8, *moving(30)]:  # credit is saved, and spent later
        inputs = ((frame.astype(np.float32) - 120) / 58).transpose(2, 0, 1)[None]
        is_key = wanted(rule, state, inputs)
        assert is_key == bool(policy.is_key_frame(theirs, torch.from_numpy(inputs))[0])
        memory = policy.remember(theirs, torch.from_numpy(inputs), torch.tensor([is_key]))
        theirs = StreamState(
            torch.tensor([True]), theirs.has_non_key, theirs.frames + 1, theirs.key_frames, policy=memory
        )
        state = onnx_stream.State(state.frames + 1, SIZE, {}, remember(rule, state, inputs, is_key))
        for name, value in state.policy.items():
            np.testing.assert_allclose(value, memory[name], rtol=0, atol=1e-5, err_msg=name)
        chosen.append(is_key)
    assert 0 < sum(chosen) < len(chosen)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(size=[0, 48]), r'size = \[0, 48\]'),
        (dict(size=[64, 48]), r"'frames' has the shape \[3, 32, 48\] in the graph, \[3, 64, 48\]"),
        (dict(dynamic_size=True), r"'frames' has the shape \[3, 32, 48\] in the graph, \[3, None, None\]"),
        (dict(tasks={'x': {'kind': 'os.system'}}), r"tasks\['x'\] = .*os.system"),
        (dict(tasks={'semseg': {'kind': 'classes', 'classes': ['a', 'b', 3]}}), r"tasks\['semseg'\]"),
        (dict(tasks={'semseg': {'kind': 'classes', 'classes': ['a', 'b']}}), r"'logits.depth' is in the graph alone"),
        (dict(tasks={'depth': {'kind': 'unit_vectors'}}), r"'logits.depth' .*\[1, 32, 48\] .*\[3, 32, 48\]"),
        (dict(state={}), r"'non_key.shared.embedding' is in the graph alone"),
        (
            dict(reads={'key': ['key', 'non_key'], 'non_key': ['key', 'non_key']}),
            r"'key\.shared\.embedding' is in the description alone",
        ),
        (dict(state={'x': {'channels': 3, 'stride': 4}}), r"'non_key.shared.embedding'"),
        (dict(std=[1.0, 0.0, 1.0]), 'std'),
        (
            dict(tasks={'x': {'kind': 'linear', 'scale': float('nan'), 'least': None, 'most': None, 'unit': 'm'}}),
            'tasks',
        ),
        (dict(policy={'kind': 'fixed_interval', 'interval': 0}), 'policy'),
        (dict(policy=None), 'policy = None'),
        (dict(kinds=['image', 'key']), 'kinds'),
        (dict(reads={'key': ['key']}), 'reads'),
        (dict(reads={'key': ['image'], 'non_key': []}), r"reads\['key'\] = \['image'\]"),
        (dict(kinds=['key'], reads={'key': ['non_key']}), 'reads = '),
        (dict(kinds={}), 'kinds = {}'),
        (dict(tasks={}), 'tasks = {}'),
        (dict(version=2), 'version = 2'),
        (dict(version={}), 'version = {}'),
        (dict(dynamic_size={}), 'dynamic_size = {}'),
        (dict(size_divisor={}), 'size_divisor = {}'),
        (dict(more=1), r"fields \['more'\]"),
        (dict(mean=[1.0, True, 2.0]), 'mean'),
        (dict(mean=[1.0, 10**400, 2.0]), 'mean'),
        (dict(mean=[1.0, 2.0]), 'mean'),
    ],
)
def test_descriptions_are_compared_as_plain_data(exported: Path, change: dict[str, Any], message: str) -> None:
    class Changed(OnnxStream):
        def open_graph(self, path: Path) -> onnx_stream.Graph:
            graph = super().open_graph(path)
            return graph._replace(description=json.dumps({**json.loads(graph.description or ''), **change}))

    with pytest.raises(ValueError, match=rf'key\.onnx: .*{message}.*export the model again'):
        Changed(exported)


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('threads', '2'),
        ('threads', 0),
        ('providers', 'CPUExecutionProvider'),
        ('providers', ['cpu']),
        ('providers', []),
        ('providers', [['CPUExecutionProvider']]),
    ],
)
def test_wrong_settings_are_refused_by_their_names(exported: Path, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f'^{name} must be .*, not ') as error:
        OnnxStream(exported, **{name: value})
    assert repr(value) in str(error.value)


def test_files_and_frames_that_do_not_fit_are_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        OnnxStream(tmp_path)
    shutil.copytree(exported, tmp_path / 'copy')
    (tmp_path / 'copy' / 'non_key.onnx').unlink()
    with pytest.raises(FileNotFoundError, match=r'non_key\.onnx'):
        OnnxStream(tmp_path / 'copy')
    shutil.copy(exported / 'key.onnx', tmp_path / 'copy' / 'non_key.onnx')
    with pytest.raises(ValueError, match=r"non_key\.onnx: the graph of 'key' frames"):
        OnnxStream(tmp_path / 'copy')
    whole = (exported / 'key.onnx').read_bytes()
    for damaged in (b'', b'damaged', whole[: len(whole) // 2], whole[:-1]):
        (tmp_path / 'copy' / 'key.onnx').write_bytes(damaged)
        with pytest.raises(ValueError, match=r'key\.onnx: .*(export it again|mmmtl export)'):
            OnnxStream(tmp_path / 'copy')
    stream = OnnxStream(exported)
    for wrong in (
        np.zeros(SIZE),
        np.zeros((*SIZE, 3)),
        np.zeros((*SIZE, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        [1],
    ):
        with pytest.raises(ValueError, match='uint8'):
            stream.step(wrong)  # type: ignore[arg-type]
    inputs, _ = stream.prepare(moving(1)[0])
    with pytest.raises(ValueError, match=r'\(16, 48\) after frames of \(32, 48\)'):
        stream.advance(inputs[:, :, :16], stream.advance(inputs)[2])


def describe_anew(path: Path, source: Path, change: Callable[[dict[str, Any]], None] | None) -> None:
    """Write a graph with a changed description; None leaves it out."""
    onnx = pytest.importorskip('onnx')
    proto = onnx.load(source)
    description = json.loads(proto.metadata_props[0].value)
    del proto.metadata_props[:]
    if change is not None:
        change(description)
        onnx.helper.set_model_props(proto, {onnx_stream.METADATA: json.dumps(description)})
    onnx.save(proto, path)


def test_files_of_different_exports_are_refused(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'copy'
    shutil.copytree(exported, folder)
    describe_anew(
        folder / 'non_key.onnx', exported / 'non_key.onnx', lambda spec: spec['made'].update(weights='0' * 64)
    )
    with pytest.raises(ValueError, match=r'non_key\.onnx: not of the same export as key\.onnx'):
        OnnxStream(folder)
    shutil.copy(exported / 'non_key.onnx', folder)
    describe_anew(folder / 'key.onnx', exported / 'key.onnx', None)
    with pytest.raises(ValueError, match=r'key\.onnx: no description'):
        OnnxStream(folder)
    shutil.copy(exported / 'key.onnx', folder)
    OnnxStream(folder)
    spec = OnnxStream(folder).spec | {'kind': 'image', 'kinds': ['image'], 'policy': None}
    text = json.dumps({**spec, 'reads': {'image': []}, 'state': {}})

    class Image(OnnxStream):
        def open_graph(self, path: Path) -> onnx_stream.Graph:
            outputs = {f'logits.{name}': [count, *SIZE] for name, count in (('semseg', 3), ('depth', 1))}
            return onnx_stream.Graph(text, {'frames': [3, *SIZE]}, outputs, lambda feed: feed)

    (folder / 'image.onnx').touch()
    with pytest.raises(ValueError, match=r"copy: \['key\.onnx', 'non_key\.onnx'\] beside image\.onnx"):
        Image(folder)
