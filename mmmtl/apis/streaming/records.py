"""The record of each stream of a run: frames, losses, and how long every stage took."""

from __future__ import annotations

import warnings
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from mmmtl.models.segmentors.frame_kinds import KIND_NAMES

RECENT = 1000
"""The number of frames whose times are kept, for quantiles."""


class StageTimes:
    """The times of a stage of all frames, in memory that does not grow.

    Attributes:
        count: number of frames.
        total: seconds of all of them.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self._first = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT)

    def add(self, seconds: float) -> None:
        """Add the time of a frame."""
        if not self.count:
            self._first = seconds
        self.count += 1
        self.total += seconds
        self._recent.append(seconds)

    @property
    def mean(self) -> float:
        """Return the average seconds, without the first frame, which is slow, unless it is the only one."""
        return (self.total - self._first) / (self.count - 1) if self.count > 1 else self.total

    def quantile(self, share: float) -> float:
        """Return the time that a share (0 to 1) of the last 1000 frames did not exceed; 0 without frames."""
        ordered = sorted(self._recent)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclass
class StreamRecord:
    """The record of one stream of a run.

    Attributes:
        frames: frames that were predicted and handed to every sink in this run.
        dropped: frames that were left out because a newer one had come.
        reconnects: number of attempts to reopen a live source.
        restarts: how often a new state began after the first, because of a new connection or another size.
        stopped: whether the run was stopped before the stream ended; a live source has no end.
        whole: whether the source delivered all that it declared, without damage, up to there.
        summary: what the source delivered, as `VideoReader.summary` says it.
        missing: what it did not deliver, and why, as `VideoReader.missing` says it.
        failure: what ended the stream too early; None if nothing did.
        stages: times of 'decode', 'wait', 'infer', 'write' (all sinks) and 'latency' (from the decoded frame to the end
            of the last sink).
        model: the times of 'infer' by kind of frame: 'key' and 'non_key', or 'image'.
    """

    frames: int = 0
    dropped: int = 0
    reconnects: int = 0
    restarts: int = 0
    stopped: bool = False
    whole: bool = True
    summary: str = ''
    missing: str = ''
    failure: BaseException | None = None
    stages: dict[str, StageTimes] = field(default_factory=lambda: defaultdict(StageTimes))
    model: dict[str, StageTimes] = field(default_factory=lambda: defaultdict(StageTimes))

    def add(self, summary: str, missing: str, *, whole: bool) -> None:
        """Add what a connection to the source delivered; earlier ones still count if they lost frames."""
        before = ('', '') if self.whole else (self.summary, self.missing)
        self.summary, self.missing = (
            '; '.join(filter(None, texts)) for texts in zip(before, (summary, missing), strict=True)
        )
        self.whole = self.whole and whole

    @property
    def error(self) -> str:
        """Return what ended the stream too early, in words; empty if nothing did."""
        if self.failure is None or isinstance(self.failure, (ValueError, OSError)):
            return str(self.failure or '')
        return f'{type(self.failure).__name__}: {self.failure}'


def speed_report(model: Mapping[str, StageTimes]) -> str:
    """Return frames per second of the model for each kind of frame and for all; the first of each kind does not count.

    Args:
        model: `StreamRecord.model`.
    """
    kinds = sorted(model.items())
    lines = [
        f'{KIND_NAMES[kind]}s: {times.count}, {1 / times.mean:.1f} frames/s' for kind, times in kinds if times.mean
    ]
    if len(kinds) > 1:
        number = sum(times.count for _, times in kinds)
        seconds = sum(times.count * times.mean for _, times in kinds)
        lines.append(f'all frames: {number}, {number / seconds:.1f} frames/s')
    return '\n'.join(lines)


def check_records(records: Mapping[str, StreamRecord]) -> None:
    """Raise what ended streams too early, and warn of frames that were lost."""
    for name, record in records.items():
        if not record.whole:
            warnings.warn(f'{name}: {record.summary}', stacklevel=3)
    failures = {name: record.failure for name, record in records.items() if record.failure is not None}
    if len(failures) > 1:
        raise ValueError('\n'.join(f'{name}: {records[name].error}' for name in failures))
    for failure in failures.values():
        raise failure
