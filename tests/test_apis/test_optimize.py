"""Optimised models: the same numbers in every way, and no needless copies."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmmtl.apis import MultiTaskInferencer, optimize_for_inference, warm_up
from mmmtl.apis import optimize as optimize_module
from mmmtl.config import resolve
from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.segmentors.frame_kinds import FrameOutput
from mmmtl.registry import MODELS
from mmmtl.structures import MultiTaskDataSample, StreamState

ROOT = Path(__file__).resolve().parents[2]
SIZE = (32, 64)


@pytest.fixture(autouse=True)
def _no_gradient() -> Iterator[None]:
    with torch.no_grad():
        yield


def build(config: str | Path, **kwargs: Any) -> MultiTaskSegmentor:
    """A model with trained-looking batch statistics and biases, the same every time."""
    torch.manual_seed(0)
    model = MultiTaskInferencer(ROOT / config, device='cpu', **kwargs).model
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor in (module.running_mean, module.bias):
                tensor.normal_(std=0.1)
            for tensor in (module.running_var, module.weight):
                tensor.uniform_(0.5, 1.5)
    return model


def video() -> MultiTaskSegmentor:
    return build('tests/configs/tiny_video.py')


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def stream(model: MultiTaskSegmentor, frames: Tensor) -> list[dict[str, Tensor]]:
    state, found = None, []
    for frame in frames:
        logits, _, state = model.step(frame[None], state)
        found.append(logits)
    return found


def relative(got: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Return the largest error, relative to the largest value of its map."""
    assert got.keys() == expected.keys()
    return max(float((got[n].double() - m).abs().max() / m.abs().max()) for n, m in expected.items())


def test_a_fused_image_model_gives_the_same() -> None:
    frames = images(2)
    plain, fused = (build('tests/configs/tiny_image.py') for _ in range(2))
    expected = plain.logits(frames)
    # The statistics matter: another batch norm would be noticed.
    assert optimize_for_inference(fused) is fused
    assert relative(fused.logits(frames), expected) < 1e-4
    assert not [m for m in fused.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    next(m for m in plain.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)).running_mean += 1
    assert relative(plain.logits(frames), expected) > 1e-4


def test_norms_without_weights_are_folded_too() -> None:
    search = dict(type='ATRCSearchHead', channels=8, context_channels=4)
    cfg = Config.fromfile(ROOT / 'tests/configs/tiny_image.py')
    cfg.model.decode_head = search
    plain, fused = (MODELS.build(resolve(cfg).model).eval() for _ in range(2))
    fused.load_state_dict(plain.state_dict())
    optimize_for_inference(fused)
    assert relative(fused.logits(images(2)), plain.logits(images(2))) < 1e-4


def test_a_fused_stream_gives_the_same() -> None:
    frames = images(8)
    expected = stream(video(), frames)
    fused = optimize_for_inference(video())
    weight = fused.decode_head.fuse['depth'].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    for got, wanted in zip(stream(fused, frames), expected, strict=True):
        assert relative(got, wanted) < 1e-4
        assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in got.values())


def test_a_fused_stream_equals_its_clips() -> None:
    fused = optimize_for_inference(video())
    frames = images(8)
    streamed = stream(fused, frames)
    for time, slots in {5: (None, 4, 5), 6: (5, 4, 6), 7: (5, 6, 7)}.items():
        clip = torch.stack([frames[slot or 0] for slot in slots])[None]
        sample = MultiTaskDataSample(metainfo={'offset': time % 5})
        assert relative(fused.logits(clip, [sample]), streamed[time]) < 1e-5


def test_nothing_of_one_stream_is_copied() -> None:
    model = optimize_for_inference(video())
    state: StreamState | None = None
    states = []
    for frame in images(7):
        state = model.step(frame[None], state).state
        states.append(state)
    assert states[5].non_key is states[4].non_key
    assert states[6].key is states[5].key
    assert not states[6].key['depth.features'].requires_grad


def test_half_precision_is_decoded_in_full() -> None:
    frames = images(3)
    expected = stream(video(), frames)
    model = optimize_for_inference(video(), dtype=torch.bfloat16)
    for got, wanted in zip(stream(model, frames), expected, strict=True):
        assert {maps.dtype for maps in got.values()} == {torch.bfloat16}
        assert 1e-5 < relative(got, wanted) < 0.1
    (maps,) = model.decode(model.step(frames[:1]).logits, SIZE)
    assert maps.depth.dtype == torch.float32


def test_logits_with_channels_last_are_decoded_as_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise `interpolate` copies its large result twice."""
    model = optimize_for_inference(video())
    task = model.tasks['semseg']
    seen = []
    decode = task.decode
    monkeypatch.setattr(task, 'decode', lambda full: (seen.append(full), decode(full))[1])
    model.decode(model.step(images(2)).logits, SIZE)
    assert [full.is_contiguous(memory_format=torch.channels_last) for full in seen] == [True, True]


@pytest.mark.slow
def test_every_kind_of_frame_compiled_gives_the_same() -> None:
    frames = images(8)
    expected = stream(video(), frames)
    compiled = optimize_for_inference(video(), 'compile')
    warm_up(compiled, SIZE)
    with torch.compiler.set_stance('fail_on_recompile'):
        for got, wanted in zip(stream(compiled, frames), expected, strict=True):
            assert relative(got, wanted) < 1e-4


def test_compiling_is_asked_for_the_core_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the compiler records which function is compiled, and when."""
    runs: list[str] = []

    def compile_(run: Any, **_: Any) -> Any:
        def compiled(*args: Any, **kwargs: Any) -> Any:
            import torch._inductor.config as inductor

            assert inductor.freezing
            runs.append(run.__name__)
            return run(*args, **kwargs)

        return compiled

    monkeypatch.setattr(torch, 'compile', compile_)
    image = optimize_for_inference(build('tests/configs/tiny_image.py'), 'compile')
    image.step(images(1))
    image.logits(images(1))
    model = optimize_for_inference(video(), 'compile')
    stream(model, images(2))
    assert runs == ['frame_logits'] * 4
    clip = images(3)[None]
    model.logits(clip, [MultiTaskDataSample(metainfo={'offset': 1})])
    assert len(runs) == 4
    warm_up(model, SIZE)
    assert runs[4:] == ['frame_logits'] * 8


def test_every_size_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def backend(module: Any, _: Any) -> Any:
        graphs.append(module)
        return module.forward

    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend=backend))
    compiled = optimize_module._compiled(lambda images: images + 1, torch.device('cpu'))
    for width in range(2, 14):
        assert compiled(torch.zeros(width)).shape == (width,)
    assert len(graphs) == 12


def test_results_of_a_graph_are_copied_out_of_its_memory() -> None:
    memory = torch.zeros(2, 3)
    first, second = (
        optimize_module.copied_out(
            lambda value=value: FrameOutput({'depth': memory.fill_(value)}, {'memory': memory})
        )()
        for value in (1, 2)
    )
    assert [found.logits['depth'].mean().item() for found in (first, second)] == [1, 2]
    assert first.memory['memory'].mean() == 1


def test_what_cannot_be_done_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build('tests/configs/tiny_image.py')
    with pytest.raises(ValueError, match="'fuse' or 'compile', not 'fast'"):
        optimize_for_inference(model, 'fast')  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='torch.int8'):
        optimize_for_inference(model, dtype=torch.int8)
    monkeypatch.setenv('CXX', 'no-such-compiler')
    with pytest.raises(ValueError, match=r'on cpu needs a C\+\+ compiler \(no-such-compiler is not installed\)'):
        optimize_for_inference(model, 'compile')
    optimize_for_inference(model)
    with pytest.raises(ValueError, match='already been optimised'):
        optimize_for_inference(model)
    with pytest.raises(ValueError, match='dtype=torch.bfloat16 needs optimize'):
        MultiTaskInferencer(ROOT / 'tests/configs/tiny_image.py', device='cpu', dtype=torch.bfloat16)


def test_the_inferencer_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [frame.permute(1, 2, 0).mul(50).clamp(0, 255).byte().numpy() for frame in images(3)]
    config = Config.fromfile(ROOT / 'tests/configs/tiny_video.py')
    torch.manual_seed(0)
    plain = MultiTaskInferencer(config, device='cpu')
    torch.manual_seed(0)
    fused = MultiTaskInferencer(config, device='cpu', optimize='fuse')
    for (_, got), (_, expected) in zip(fused.stream(frames), plain.stream(frames), strict=True):
        assert abs(got['depth'] - expected['depth']).max() < 1e-4

    warmed: list[Any] = []
    monkeypatch.setattr('mmmtl.apis.inferencer.warm_up', lambda model, size, batch: warmed.append(tuple(size)))
    fused.optimize = 'compile'
    list(fused.stream(frames))
    assert warmed == [SIZE], 'before the first frame'
    list(fused.stream(frames))
    assert warmed == [SIZE], 'once for each size'
    fused.step_streams(frames[:2])
    assert warmed == [SIZE, SIZE], 'once for each number of streams'


ONE_OF_EACH_METHOD = [
    'baselines/multi-task_mbv2_1xb4-2k_nyuv2-288x384.py',
    'baselines/multi-task_segnet_1xb4-50e_nyuv2-288x384.py',
    'atrc/atrc_mbv2_1xb4-2k_nyuv2-288x384.py',
    'cross_stitch/cross-stitch_hrnet18_1xb10-100e_nyuv2-480x640.py',
    'flow_warp/flow-warp_r50-mbv2-k5_1xb4-2k_house-256x384.py',
    'mila/mila_r50-mbv2-k5_1xb4-2k_house-256x384.py',
    'mtan/mtan_hrnet18_1xb10-100e_nyuv2-480x640.py',
    'mti_net/mti-net_mbv2_1xb4-2k_nyuv2-288x384.py',
    'nddr_cnn/nddr-cnn_hrnet18_1xb10-100e_nyuv2-480x640.py',
    'pad_net/pad-net_mbv2_1xb4-2k_nyuv2-288x384.py',
    'sca/sca_mbv2_1xb4-2k_nyuv2-288x384.py',
    'svc/svc_r50-mbv2-k5_1xb4-2k_house-256x384.py',
]


@pytest.mark.slow
@pytest.mark.parametrize('config', ONE_OF_EACH_METHOD)
def test_every_method_fused_gives_the_same(config: str) -> None:
    if not (ROOT / 'configs' / config).is_file():
        pytest.fail(f'{config} is gone; name another of its method')
    plain, fused = (build(f'configs/{config}').double() for _ in range(2))
    optimize_for_inference(fused)
    frames = torch.randn(3, 3, 96, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for got, expected in zip(stream(fused, frames), stream(plain, frames), strict=True):
        assert relative(got, expected) < 1e-8


@pytest.mark.gpu
@pytest.mark.parametrize('how', ['fuse', 'compile'])
def test_a_stream_on_a_gpu_gives_the_same_without_waiting(how: Any) -> None:
    frames = images(8).cuda()
    expected = stream(video().cuda(), frames)
    model = optimize_for_inference(video().cuda(), how)
    warm_up(model, SIZE)
    torch.cuda.set_sync_debug_mode('error')
    try:
        found = stream(model, frames)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    for got, wanted in zip(found, expected, strict=True):
        assert relative(got, wanted) < 1e-3
