"""The parts of the keys of metrics."""

from __future__ import annotations

import pytest

from mmmtl.tasks.metric_keys import MetricKey, by_offset


@pytest.mark.parametrize(
    ('key', 'parts'),
    [
        ('depth/rmse', ('depth/rmse', '', None)),
        ('offset_12/own/a/b', ('own/a/b', 'offset_12', 12)),
        ('pooled/depth/rmse', ('depth/rmse', 'pooled', None)),
        ('per_image/depth/rmse', ('depth/rmse', 'per_image', None)),
        ('temporal/semseg/VC8', ('temporal/semseg/VC8', '', None)),
        ('offset_x/rmse', ('offset_x/rmse', '', None)),
        ('stream/GMAC', ('stream/GMAC', '', None)),
        ('delta_m', ('delta_m', '', None)),
    ],
)
def test_only_a_scope_is_split_from_a_key(key: str, parts: tuple[str, str, int | None]) -> None:
    assert MetricKey.parse(key) == parts


def test_offsets_ascend_as_numbers() -> None:
    found = by_offset({'offset_10/a/b': 1.0, 'offset_2/a/b': 2.0, 'a/b': 3.0, 'pooled/a/b': 4.0, 'offset_2/a/c': 5.0})
    assert list(found.items()) == [(2, {'a/b': 2.0, 'a/c': 5.0}), (10, {'a/b': 1.0})]
