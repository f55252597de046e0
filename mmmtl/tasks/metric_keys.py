"""Keys of metrics: what is measured, and over which samples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

SCOPE = re.compile(r'offset_(\d+)|pooled|per_image')


class MetricKey(NamedTuple):
    """The parts of the key of a metric, `[<scope>/]<name>`.

    Args:
        name: what is measured: `<task>/<metric>`; `temporal/<task>/<metric>`, from frame to frame; `delta_m` and
            `stream/<what>`, which belong to no task.
        scope: over which samples: `offset_<k>`, those k frames after their key frame; `pooled`, those of all offsets
            together; `per_image`, each image by itself, then averaged; '', all samples, for clips the mean over the
            offsets.
        offset: k of `offset_<k>`.
    """

    name: str
    scope: str = ''
    offset: int | None = None

    @classmethod
    def parse(cls, key: str) -> MetricKey:
        """Split a key; one without a scope is all name.

        Examples:
            >>> MetricKey.parse('offset_3/depth/rmse')
            MetricKey(name='depth/rmse', scope='offset_3', offset=3)
        """
        scope, _, name = key.partition('/')
        found = SCOPE.fullmatch(scope)
        if found is None:
            return cls(key)
        return cls(name, scope, int(found[1]) if found[1] else None)

    @property
    def is_detail(self) -> bool:
        """Whether it is of one offset or pooled, which `MultiTaskMetric(details=False)` leaves out."""
        return self.offset is not None or self.scope == 'pooled'


def by_offset(metrics: Mapping[str, float]) -> dict[int, dict[str, float]]:
    """Return {offset: {name: value}} of the metrics of single offsets, in ascending order.

    Examples:
        >>> by_offset({'depth/rmse': 2.0, 'offset_1/depth/rmse': 3.0, 'offset_0/depth/rmse': 1.0})
        {0: {'depth/rmse': 1.0}, 1: {'depth/rmse': 3.0}}
    """
    found: dict[int, dict[str, float]] = {}
    for key, value in metrics.items():
        name, _, offset = MetricKey.parse(key)
        if offset is not None:
            found.setdefault(offset, {})[name] = value
    return dict(sorted(found.items()))
