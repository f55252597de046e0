"""Time and memory that a model takes for each kind of frame."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from prettytable import PrettyTable

from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.segmentors.frame_kinds import KEY, ClipOutput, FrameOutput, frame_runs
from mmmtl.structures import FrameResult, MultiTaskDataSample

from .average import AVERAGE, average_frame
from .measure import Clock, Step, peak_memory, step_seconds

Mode = Literal['image', 'stream', 'clip']
Compute = Callable[[], FrameResult | FrameOutput | ClipOutput]
"""A computation of logits."""
Name = TypeVar('Name', bound=Hashable)


@dataclass(frozen=True)
class Latency:
    """Measurements of one kind of frame.

    Args:
        seconds: time of each measurement.
        batch: images, or frames of this many streams, in each.
        peak: largest growth of memory in bytes; None if not measured.
    """

    seconds: tuple[float, ...]
    batch: int = 1
    peak: int | None = None

    def milliseconds(self, percent: float = 50) -> float:
        """Return a percentile of the time of a batch."""
        return float(np.percentile(self.seconds, percent)) * 1e3

    @property
    def throughput(self) -> float:
        """Frames per second at the median time."""
        return self.batch / self.milliseconds() * 1e3

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        percentiles = {'median_ms': 50, 'p95_ms': 95, 'p99_ms': 99}
        return {
            **{name: self.milliseconds(percent) for name, percent in percentiles.items()},
            'frames_per_second': self.throughput,
            'peak_bytes': self.peak,
            'seconds': list(self.seconds),
        }


def default_mode(model: MultiTaskSegmentor) -> Mode:
    """Return 'stream' for a video model and 'image' for an image model."""
    return 'stream' if model.has_key_frames else 'image'


def prediction_steps(
    model: MultiTaskSegmentor, size: Sequence[int], *, batch: int = 1, mode: Mode | None = None
) -> dict[str, Step]:
    """Return a step for each kind of frame, from normalised pixels to decoded maps, in the steady state.

    Args:
        model: the model, in eval mode, on its device.
        size: (H, W) of the images, which are padded as in predictions; their pixels are random.
        batch: number of images, streams or clips.
        mode: 'clip' runs three frames to predict one, as in training and testing; None is `default_mode`.

    Returns:
        {kind: step}: 'image', or 'key' and, unless K is 1, 'non_key'.
    """
    mode = mode or default_mode(model)
    if (mode == 'image') == model.has_key_frames:
        raise ValueError(f'mode {mode!r} does not suit a {type(model).__name__}; use {default_mode(model)!r}')
    device = next(model.parameters()).device
    padded = model.data_preprocessor.padded_size(size)
    images = torch.randn(batch, 3, *padded, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.inference_mode():
        runs = _clip_runs(model, images) if mode == 'clip' else _stream_runs(model, images)

    def predict(run: Compute) -> Any:
        with torch.inference_mode():
            return model.decode(run().logits, padded, [size] * batch)

    return {kind: partial(predict, run) for kind, run in runs.items()}


def measure_latency(
    steps: Mapping[Name, Step],
    *,
    device: torch.device | str,
    batch: int = 1,
    rounds: int = 50,
    warmup: int = 5,
    clock: Clock = time.perf_counter,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[Name, Latency]:
    """Time steps that take turns, round after round, so that a busy machine disturbs all of them alike.

    `warmup` is the number of earlier rounds, which do not count; a further one measures peak memory, if the system
    reports it. `clock` gives seconds; `time.process_time` is fairer on a shared machine, for one thread. `track` wraps
    the rounds to show their progress. `batch` is the number of frames per step.
    """
    for _ in range(warmup):
        for step in steps.values():
            step()
    peaks = {name: _peak(step, device) for name, step in steps.items()}
    seconds: dict[Name, list[float]] = {name: [] for name in steps}
    for _ in track(range(rounds)):
        for name, step in steps.items():
            seconds[name].append(step_seconds(step, device, clock))
    return {name: Latency(tuple(taken), batch, peaks[name]) for name, taken in seconds.items()}


def average_milliseconds(found: Mapping[str, Latency], interval: int | None) -> float | None:
    """Return the median time per frame averaged over the interval, or None without an interval."""
    return average_frame({kind: one.milliseconds() for kind, one in found.items()}, interval)


def latency_table(found: Mapping[str, Latency], interval: int | None) -> str:
    """Return a table with a row for each kind of frame, and their average."""
    table = PrettyTable(['frame', 'median ms', 'p95 ms', 'p99 ms', 'frames/s', 'peak memory (MB)'])
    table.align = 'r'
    table.align['frame'] = 'l'
    for kind, one in found.items():
        times = [f'{one.milliseconds(percent):.2f}' for percent in (50, 95, 99)]
        peak = '' if one.peak is None else f'{one.peak / 1e6:.1f}'
        table.add_row([kind.replace('_', '-'), *times, f'{one.throughput:.2f}', peak])
    if (average := average_milliseconds(found, interval)) is not None:
        batch = found[KEY].batch
        table.add_row([f'{AVERAGE} (K = {interval})', f'{average:.2f}', '', '', f'{batch / average * 1e3:.2f}', ''])
    return str(table.get_string())


def report(found: Mapping[str, Latency], model: MultiTaskSegmentor) -> dict[str, Any]:
    """Return plain values for JSON."""
    interval = model.key_frame_interval
    average = average_milliseconds(found, interval)
    kinds = {kind: one.to_dict() for kind, one in found.items()}
    return {'key_frame_interval': interval, 'average_ms': average, 'frames': kinds}


def _peak(step: Step, device: torch.device | str) -> int | None:
    """Return `peak_memory`, or None on a CPU without Linux's /proc, and on devices other than CPU and CUDA."""
    if torch.device(device).type in ('cpu', 'cuda'):
        with contextlib.suppress(OSError):
            return peak_memory(step, device)
    return None


def _stream_runs(model: MultiTaskSegmentor, images: torch.Tensor) -> Mapping[str, Compute]:
    """Return functions that run `model.step` in the steady state, for each kind of frame."""
    interval = model.key_frame_interval
    if model.has_key_frames and interval is None:
        # No state makes sure that such a policy chooses a certain kind of frame.
        return frame_runs(model, images)
    state = None
    for _ in range(interval or 0):
        state = model.step(images, state).state
    runs = {}
    for kind in model.frame_kinds:
        runs[kind] = partial(model.step, images, state)
        state = runs[kind]().state
    return runs


def _clip_runs(model: MultiTaskSegmentor, images: torch.Tensor) -> Mapping[str, Compute]:
    """Return functions that compute clips with all their slots, for each kind of current frame."""
    compute = model.core.clips
    assert compute is not None
    clips = images[:, None].expand(-1, 3, -1, -1, -1).contiguous()
    samples = {
        kind: MultiTaskDataSample(metainfo={'offset': offset})
        for kind, offset in zip(model.frame_kinds, (0, 1), strict=False)
    }
    return {kind: partial(compute, clips, [sample] * len(clips)) for kind, sample in samples.items()}
