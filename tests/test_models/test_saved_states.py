"""Saved states of streams against the model that loads them: right ones go on, changed ones are refused by field."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import Tensor

from mmmtl.apis import optimize_for_inference
from mmmtl.config import resolve
from mmmtl.models import MultiTaskSegmentor
from mmmtl.registry import MODELS
from mmmtl.structures import StreamState

CONFIGS = Path(__file__).parents[1] / 'configs'

CHANGES = 200
VALUES = [0, 1, -1, 2**40, float('nan'), float('inf')]


def build(name: str = 'tiny_video', **policy: Any) -> MultiTaskSegmentor:
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    if policy:
        cfg.model.key_frame_policy = policy
    return MODELS.build(resolve(cfg).model).eval()


FRAME_CHANGE = dict(type='FrameChange', threshold=0.3)
BUDGET = dict(type='CostBudget', budget=2.0, key_cost=3.0, non_key_cost=1.0)


@pytest.fixture(scope='module')
def video_model() -> MultiTaskSegmentor:
    return build(**FRAME_CHANGE)


@torch.inference_mode()
def run(model: MultiTaskSegmentor, frames: int, state: StreamState | None = None, seed: int = 0) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(seed)
    logits = None
    for _ in range(frames):
        logits, _, state = model.step(torch.randn(2, 3, 32, 64, generator=generator), state)
    return logits, state


@pytest.mark.parametrize('policy', [{}, FRAME_CHANGE, BUDGET], ids=['interval', 'change', 'budget'])
def test_a_saved_state_goes_on(policy: dict[str, Any]) -> None:
    model = build(**policy)
    state = run(model, 3)[1]
    loaded = StreamState.from_state_dict(state.state_dict())

    assert loaded.unchecked
    expected, found = run(model, 2, state, seed=1)[0], run(model, 2, loaded, seed=1)[0]
    for task, logits in expected.items():
        assert torch.equal(found[task], logits)
    assert not run(model, 1, loaded)[1].unchecked
    joined = StreamState.cat([loaded.select([0]), StreamState.new(1)])
    assert joined.unchecked and not run(model, 1, joined)[1].unchecked


@pytest.mark.parametrize('frames', [1, 3])
def test_a_state_in_full_precision_goes_on_in_half(frames: int) -> None:
    saved = run(build(), frames)[1].state_dict()
    model = optimize_for_inference(build(), dtype=torch.bfloat16)

    logits, state = run(model, 1, StreamState.from_state_dict(saved))
    assert {tensor.dtype for tensor in (*logits.values(), *state.key.values())} == {torch.bfloat16}


def test_a_check_leaves_the_model_as_it_is_for_other_threads() -> None:
    model = build()
    saved = run(model, 1)[1].state_dict()
    seen = []

    def look(_: Any, given: tuple[Tensor]) -> None:
        seen.append((given[0].device.type, {tensor.device.type for tensor in model.state_dict().values()}))

    model.backbone.register_forward_pre_hook(look)
    run(model, 4, StreamState.from_state_dict(saved))
    run(model, 1)
    assert seen == [('meta', {'cpu'}), ('cpu', {'cpu'})]


def test_an_image_model_remembers_nothing(video_model: MultiTaskSegmentor) -> None:
    model = build('tiny_image')
    saved = run(model, 2)[1].state_dict()

    run(model, 1, StreamState.from_state_dict(saved))
    with pytest.raises(ValueError, match='key of the state'):
        run(model, 1, StreamState.from_state_dict(run(video_model, 1)[1].state_dict()))


@pytest.mark.parametrize(
    ('saved_by', 'loaded_by'), [(FRAME_CHANGE, BUDGET), (BUDGET, FRAME_CHANGE), ({}, BUDGET), (BUDGET, {})]
)
def test_the_state_of_another_policy_is_refused(saved_by: dict[str, Any], loaded_by: dict[str, Any]) -> None:
    saved = run(build(**saved_by), 2)[1].state_dict()
    with pytest.raises(ValueError, match='policy of the state'):
        run(build(**loaded_by), 1, StreamState.from_state_dict(saved))


@pytest.mark.parametrize('change', ['shape', 'name', 'type'])
def test_the_memory_of_another_model_is_refused(change: str, video_model: MultiTaskSegmentor) -> None:
    saved = run(video_model, 2)[1].state_dict()
    name, tensor = next(iter(saved['key'].items()))
    if change == 'name':
        saved['key']['other'] = saved['key'].pop(name)
    else:
        saved['key'][name] = tensor[..., :-1] if change == 'shape' else tensor.double()
    with pytest.raises(ValueError, match=r'key(\.[\w.]+)? of the'):
        run(video_model, 1, StreamState.from_state_dict(saved))


def with_value(tensor: Tensor, index: int, value: float) -> Tensor:
    flat = tensor.clone().flatten()
    flat[index : index + 1] = value
    return flat.view(tensor.shape)


def mutate(saved: dict[str, Any], rng: random.Random) -> str:
    """Change one thing of a saved state and return what."""
    field = rng.choice(sorted(saved))
    holder, name = saved, field
    if isinstance(saved[field], dict) and saved[field] and rng.random() < 0.8:
        holder, name = saved[field], rng.choice(sorted(saved[field]))
    value = holder[name]
    changes: list[Any] = [None, 'text', 3.5, [1, 2], {}, {'x': torch.zeros(2)}, (10**9, 10**9), (32, 63)]
    if isinstance(value, Tensor):
        changes += [torch.zeros(()), value[:1], value[None], value.double(), value.bool(), value.to(torch.complex64)]
        changes += [value.repeat_interleave(2, -1), value.transpose(0, -1), value.to_sparse(), value.to('meta')]
        values = VALUES if value.is_floating_point() else VALUES[:2] if value.dtype == torch.bool else VALUES[:4]
        changes += [with_value(value, rng.randrange(max(1, value.numel())), rng.choice(values)) for _ in range(6)]
    kind = rng.randrange(len(changes) + 2)
    if kind < len(changes):
        holder[name] = changes[kind]
    elif kind == len(changes):
        del holder[name]
    else:
        holder['another'] = value
    return f'{field}.{name}: {holder.get(name)!r}'


def test_changed_states_are_refused_or_go_on(video_model: MultiTaskSegmentor) -> None:
    """No other exception, and what is accepted gives finite logits."""
    rng = random.Random(0)
    models = [(model, run(model, 3)[1].state_dict()) for model in (video_model, build(**BUDGET), build('tiny_image'))]
    refused = 0
    for number in range(CHANGES):
        model, right = models[number % len(models)]
        saved = copy.deepcopy(right)
        what = mutate(saved, rng)
        try:
            logits, _ = run(model, 1, StreamState.from_state_dict(saved))
        except ValueError as error:
            refused += 1
            assert any(name in str(error) for name in ('saved state', 'state')), what
            continue
        assert all(tensor.isfinite().all() for tensor in logits.values()), what
    assert refused > CHANGES / 2
