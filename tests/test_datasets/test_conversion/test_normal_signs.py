"""Signs of stored normals: planes by hand, and every combination found again."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from mmmtl.datasets import SyntheticVideo
from mmmtl.datasets.conversion.normal_signs import (
    find_normal_signs,
    normals_of_depth,
    report_facing,
    report_signs,
    sample_labels,
)

TASKS = dict(depth=dict(type='DepthEstimation', max_depth=20.0), normals=dict(type='SurfaceNormals'))


def test_a_wall_and_a_slope() -> None:
    wall = normals_of_depth(np.full((48, 64), 2.0, np.float32))
    assert np.allclose(wall[8:-8, 8:-8], (0, 0, -1), atol=1e-6)
    # The plane z = 2 + y / 2 is seen at z = 2 / (1 - v / 2) with v = y / z; its normal to the camera is (0, 1, -2).
    v = (np.arange(480) - 239.5) / (519 / 640 * 640)
    slope = normals_of_depth(np.repeat((2 / (1 - v / 2))[:, None], 640, axis=1).astype(np.float32))
    assert np.allclose(slope[60:-60, 60:-60], np.array([0, 1, -2]) / 5**0.5, atol=0.01)


def test_there_is_none_near_a_hole() -> None:
    depth = np.full((48, 64), 2.0, np.float32)
    depth[24, 32] = 0
    normals = normals_of_depth(depth)
    assert not normals[22:27, 30:35].any() and normals[24, 40].any()


class Stored(SyntheticVideo):
    """Rendered rooms whose normals are stored with other signs."""

    signs = (1, 1, 1)

    def read_map(self, source: str, reference: Any) -> np.ndarray:
        return super().read_map(source, reference) * (self.signs if source == 'normals' else 1)


@pytest.mark.parametrize('signs', list(product((1, -1), repeat=3)))
def test_every_combination_is_found(signs: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stored, 'signs', signs)
    data = Stored(split='train', num_videos=4, length=1, size=(64, 128), metainfo=dict(tasks=TASKS))
    found = find_normal_signs(sample_labels(data, samples=4))
    assert found is not None and found.signs == signs and found.angle < 15
    report = report_signs(found)
    assert 'fit the depth' in report and (str(signs) in report) == (signs != (1, 1, 1))


def test_normals_that_fit_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Stored(split='train', num_videos=2, length=1, size=(64, 128), metainfo=dict(tasks=TASKS))
    monkeypatch.setattr(
        Stored, 'read_map', lambda self, source, ref: np.roll(SyntheticVideo.read_map(self, source, ref), 1, -1)
    )
    found = find_normal_signs(sample_labels(data))
    assert found is not None and 'no signs' in report_signs(found)
    assert 'not checked' in report_signs(None)


def test_normals_without_depth_must_point_to_the_camera() -> None:
    # Three to the camera, one away, and a pixel without one.
    normals = np.array([(0, 0, -1), (0.6, 0, -0.8), (0, 0.8, -0.6), (0, 0, 1), (0, 0, 0)], dtype=np.float32)
    assert report_facing(normals).startswith('normals: 75 % point to the camera')
    turned = report_facing(-normals.reshape(1, 5, 3))
    assert '75 % point away' in turned and 'normal_signs=(1, 1, -1)' in turned
    assert 'none to check' in report_facing(np.zeros((2, 2, 3)))
