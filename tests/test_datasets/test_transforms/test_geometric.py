"""Geometric transforms against maps computed by hand, and against a rendered plane."""

from __future__ import annotations

import re
from fractions import Fraction

import cv2
import numpy as np
import pytest

from mmmtl.datasets.transforms import RandomCrop, RandomFlip, RandomRotate, RandomScale, RandomZoom, Resize
from mmmtl.datasets.transforms.geometric import crop_window, resize_map

TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes=[str(i) for i in range(100)]),
    depth=dict(type='DepthEstimation', max_depth=100.0),
    disparity=dict(type='DisparityEstimation'),
    normals=dict(type='SurfaceNormals'),
)


def numbers(height: int, width: int) -> np.ndarray:
    """(H, W) uint8, every pixel another number."""
    return np.arange(height * width, dtype=np.uint8).reshape(height, width)


def unit(*vector: float) -> np.ndarray:
    return (np.array(vector) / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def item(make_results):
    """An item of two frames and four maps, in which pixel k has label k, depth 1 + k, disparity 2 + k."""

    def make(height: int, width: int, rng):
        k = numbers(height, width)
        normals = np.tile(unit(0.6, 0.2, -1), (height, width, 1))
        maps = dict(semseg=k, depth=1 + k.astype(np.float32), disparity=2 + k.astype(np.float32), normals=normals)
        imgs = [np.dstack([k] * 3), np.dstack([k + 100] * 3)]
        return make_results(imgs, maps, rng=rng, tasks=TASKS)

    return make


# Flip


def test_flip(item, scripted) -> None:
    results = RandomFlip(prob=1.0)(item(2, 3, scripted(0.99)))
    expected = np.array([[2, 1, 0], [5, 4, 3]])
    assert np.array_equal(results['imgs'][0][..., 1], expected)
    assert np.array_equal(results['imgs'][1][..., 2], expected + 100)
    assert np.array_equal(results['gt_maps']['semseg'], expected)
    assert np.array_equal(results['gt_maps']['depth'], expected + 1)
    assert np.array_equal(results['gt_maps']['disparity'], expected + 2)
    assert np.allclose(results['gt_maps']['normals'], unit(-0.6, 0.2, -1))
    twice = RandomFlip(prob=1.0)(dict(results, rng=scripted(0.0)))
    assert all(np.array_equal(twice['gt_maps'][name], array) for name, array in item(2, 3, None)['gt_maps'].items())


def test_probabilities(item, scripted) -> None:
    for transform in (RandomFlip(prob=0.3), RandomRotate(prob=0.3)):
        results = transform(item(2, 3, scripted(0.3)))
        assert np.array_equal(results['gt_maps']['semseg'], numbers(2, 3))
    flipped = [
        RandomFlip(prob=0.3)(item(1, 2, np.random.default_rng(i)))['gt_maps']['semseg'][0, 0] for i in range(300)
    ]
    assert 60 < sum(flipped) < 120


# Rotation


def test_a_quarter_turn_of_a_square(item, scripted) -> None:
    results = RandomRotate(max_angle=90, prob=1.0)(item(3, 3, scripted(0.0, 90.0)))
    # Counter-clockwise: the right column becomes the top row.
    expected = np.array([[2, 5, 8], [1, 4, 7], [0, 3, 6]])
    assert np.array_equal(np.rot90(numbers(3, 3)), expected)
    assert np.array_equal(results['imgs'][0][..., 0], expected)
    assert np.array_equal(results['imgs'][1][..., 0], expected + 100)
    assert np.array_equal(results['gt_maps']['semseg'], expected)
    assert np.array_equal(results['gt_maps']['depth'], expected + 1)
    assert np.array_equal(results['gt_maps']['disparity'], expected + 2)
    # What pointed right (x) points up (-y), what pointed down (y) points right (x).
    assert np.allclose(results['gt_maps']['normals'], unit(0.2, -0.6, -1), atol=1e-6)


def test_angles_of_both_signs_are_drawn(item) -> None:
    rotate = RandomRotate(max_angle=10, prob=1.0)
    normals = [rotate(item(3, 3, np.random.default_rng(seed)))['gt_maps']['normals'][1, 1] for seed in range(20)]
    x, y, _ = unit(0.6, 0.2, -1)
    turns = [np.rad2deg(np.arctan2(y, x) - np.arctan2(n[1], n[0])) for n in normals]
    assert -10 < min(turns) < -5 and 5 < max(turns) < 10


def test_corners_lose_their_labels(item, scripted) -> None:
    results = RandomRotate(max_angle=45, prob=1.0)(item(9, 9, scripted(0.0, 45.0)))
    maps = results['gt_maps']
    corners = [(i, j) for i in (0, 8) for j in (0, 8)]
    assert [maps['semseg'][c] for c in corners] == [255] * 4
    assert [float(maps['depth'][c]) for c in corners] == [0.0] * 4
    assert not any(maps['normals'][c].any() for c in corners)
    assert maps['semseg'][4, 4] == 40 and maps['depth'][4, 4] == 41
    assert results['imgs'][0].shape == (9, 9, 3) and results['imgs'][0].min() >= 0  # mirrored, not black
    outside = maps['semseg'] == 255
    assert np.array_equal(outside, maps['depth'] == 0) and np.array_equal(outside, ~maps['normals'].any(-1))


def render(normal: np.ndarray, size: tuple[int, int], roll: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label (a half-plane), depth and normal of the plane normal . X = -3 for a camera rolled by `roll` degrees.

    The image turns counter-clockwise by `roll`, the camera clockwise.
    """
    c, s = np.cos(np.deg2rad(roll)), np.sin(np.deg2rad(roll))
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])  # counter-clockwise for y down
    rows, columns = np.indices(size)
    rays = np.stack([(columns - (size[1] - 1) / 2) / 60, (rows - (size[0] - 1) / 2) / 60, np.ones(size)], axis=-1)
    turned = turn @ normal
    depth = -3 / (rays @ turned)
    points = (rays * depth[..., None]) @ turn  # in the old frame
    return (points[..., 0] > 0.21).astype(np.uint8), depth.astype(np.float32), np.broadcast_to(turned, (*size, 3))


@pytest.mark.parametrize('angle', [-20.0, 15.0, 30.0])
def test_rotation_is_a_rolled_camera(make_results, scripted, angle: float) -> None:
    normal, size = unit(0.5, 0.3, -1), (60, 80)
    label, depth, normals = render(normal, size, 0)
    maps = dict(semseg=label, depth=depth, normals=normals.astype(np.float32))
    results = make_results([np.dstack([100 * label] * 3)], maps, rng=scripted(0.0, angle), tasks=TASKS)
    results = RandomRotate(max_angle=45, prob=1.0)(results)
    moved = results['gt_maps']
    expected_label, expected_depth, expected_normals = render(normal, size, angle)
    inside = moved['semseg'] != 255
    assert inside.mean() > 0.7
    # Nearest neighbour is off by up to half a pixel: labels at the edge, and depth by its slope of 2 % a pixel.
    assert (moved['semseg'] == expected_label)[inside].mean() > 0.985
    assert np.abs(moved['depth'] / expected_depth - 1)[inside].max() < 0.015
    assert np.abs(expected_depth / depth - 1)[inside].max() > 0.1
    assert np.abs(moved['normals'] - expected_normals)[inside].max() < 1e-6
    image = results['imgs'][0][..., 0]
    clear = inside & (cv2.erode(expected_label, np.ones((5, 5))) == cv2.dilate(expected_label, np.ones((5, 5))))
    assert np.array_equal(image[clear], 100 * expected_label[clear]) and clear.mean() > 0.5


# Scale


def test_scale_enlarges_about_the_middle(item, scripted) -> None:
    results = RandomScale()(item(5, 5, scripted(2.0)))
    k = numbers(5, 5)
    # Rows and columns 1 to 3 of the old image at every second place of the new one.
    assert np.array_equal(results['gt_maps']['semseg'][::2, ::2], k[1:4, 1:4])
    assert np.array_equal(results['imgs'][1][::2, ::2, 0], k[1:4, 1:4] + 100)
    assert np.allclose(results['gt_maps']['depth'][::2, ::2], (1 + k[1:4, 1:4]) / 2)
    assert np.allclose(results['gt_maps']['disparity'][::2, ::2], (2 + k[1:4, 1:4]) * 2)
    assert np.allclose(results['gt_maps']['normals'], unit(0.6, 0.2, -1))
    assert results['img_shape'] == (5, 5)


def test_scale_shrinks_about_the_middle(item, scripted) -> None:
    results = RandomScale()(item(9, 9, scripted(0.5)))
    k = numbers(9, 9)
    inside = np.zeros((9, 9), dtype=bool)
    inside[2:7, 2:7] = True
    maps = results['gt_maps']
    assert np.array_equal(maps['semseg'][inside].reshape(5, 5), k[::2, ::2])
    assert np.allclose(maps['depth'][inside].reshape(5, 5), (1 + k[::2, ::2]) * 2)
    # The margin has no labels, the image is mirrored there.
    assert (maps['semseg'][~inside] == 255).all() and not maps['depth'][~inside].any()
    assert not maps['normals'][~inside].any()
    assert np.array_equal(results['imgs'][0][1, 2:7, 0], k[2, ::2]) and np.array_equal(
        results['imgs'][0][2:7, 7, 0], k[::2, 6]
    )


def test_a_scale_of_one_changes_nothing(item, scripted) -> None:
    before = item(4, 6, None)
    results = RandomScale(scales=(1.0, 1.0))(item(4, 6, scripted(1.0)))
    assert all(np.array_equal(results['gt_maps'][name], array) for name, array in before['gt_maps'].items())
    assert np.array_equal(results['imgs'][0], before['imgs'][0])


@pytest.mark.parametrize('scales', [(0.0, 1.0), (1.5, 1.0)])
def test_impossible_scales_are_refused(scales) -> None:
    with pytest.raises(ValueError, match=r'scales must be \(min, max\), both positive'):
        RandomScale(scales=scales)


# Zoom


def test_zoom(item, scripted) -> None:
    # Zoom number 1 (2.0), from the crop of 2x3 with its corner at row 1, column 2 of 4x6.
    results = RandomZoom(zooms=(1.0, 2.0))(item(4, 6, scripted(1, 1, 2)))
    crop = np.array([[8, 9, 10], [14, 15, 16]])
    expected = np.repeat(np.repeat(crop, 2, axis=0), 2, axis=1)
    assert np.array_equal(results['gt_maps']['semseg'], expected)
    assert np.allclose(results['gt_maps']['depth'], (expected + 1) / 2)
    assert np.allclose(results['gt_maps']['disparity'], (expected + 2) * 2)
    assert np.allclose(results['gt_maps']['normals'], unit(0.6, 0.2, -1))
    assert all(array.dtype == np.float32 for name, array in results['gt_maps'].items() if name != 'semseg')
    for image, offset in zip(results['imgs'], (0, 100), strict=True):
        assert image.shape == (4, 6, 3) and image.dtype == np.uint8
        assert [image[i, j, 0] for i in (0, 3) for j in (0, 5)] == [8 + offset, 10 + offset, 14 + offset, 16 + offset]
        assert offset + 8 <= image.min() and image.max() <= offset + 16


def test_zoom_into_the_centre(item, scripted) -> None:
    """Of 4 x 6 pixels a window of 2 x 3 is left: rows 1 and 2, columns 1 to 3; one draw, of the factor."""
    results = RandomZoom(zooms=(1.0, 2.0), place='center')(item(4, 6, scripted(1)))
    rows, columns = np.divmod(results['gt_maps']['semseg'], 6)
    assert np.array_equal(np.unique(rows), [1, 2]) and np.array_equal(np.unique(columns), [1, 2, 3])
    with pytest.raises(ValueError, match="place.*'random'.*'center'.*'centre'"):
        RandomZoom(place='centre')


def test_the_window_of_a_zoom_is_rounded(item, scripted) -> None:
    rows, _ = np.divmod(RandomZoom(zooms=(1.5,), place='center')(item(10, 10, scripted(0)))['gt_maps']['semseg'], 10)
    assert np.array_equal(np.unique(rows), range(1, 8)), '7 of 10 rows'


def test_no_zoom_changes_nothing(item, scripted) -> None:
    before = item(4, 6, None)
    results = RandomZoom(zooms=[1.0])(item(4, 6, scripted(0, 0, 0)))
    assert all(np.array_equal(results['gt_maps'][name], array) for name, array in before['gt_maps'].items())
    assert all(np.array_equal(a, b) for a, b in zip(results['imgs'], before['imgs'], strict=True))


def test_zoom_keeps_what_is_unlabelled(make_results, scripted) -> None:
    maps = dict(semseg=np.full((2, 2), 255, np.uint8), depth=np.zeros((2, 2), np.float32))
    maps |= dict(disparity=np.zeros((2, 2), np.float32), normals=np.zeros((2, 2, 3), np.float32))
    results = make_results([np.zeros((2, 2, 3), np.uint8)], maps, rng=scripted(0, 1, 1), tasks=TASKS)
    moved = RandomZoom(zooms=[2.0])(results)['gt_maps']
    assert (moved['semseg'] == 255).all() and not any(moved[n].any() for n in ('depth', 'disparity', 'normals'))


def test_zooming_out_is_refused() -> None:
    for zooms in ((0.5, 1), ()):
        with pytest.raises(ValueError, match=f'zooms must be .* at least 1, not {re.escape(str(zooms))}$'):
            RandomZoom(zooms=zooms)


# Crop


def test_crop(item, scripted) -> None:
    results = RandomCrop(size=[2, 3])(item(4, 6, scripted(2, 1)))
    expected = np.array([[13, 14, 15], [19, 20, 21]])
    assert np.array_equal(results['imgs'][0][..., 0], expected)
    assert np.array_equal(results['imgs'][1][..., 0], expected + 100)
    assert np.array_equal(results['gt_maps']['semseg'], expected)
    assert np.array_equal(results['gt_maps']['depth'], expected + 1)
    assert np.array_equal(results['gt_maps']['disparity'], expected + 2)
    assert results['img_shape'] == (2, 3) and results['ori_shape'] == (4, 6)


def test_crop_windows_reach_every_place() -> None:
    rng = np.random.default_rng(0)
    windows = {(w[0].start, w[1].start) for w in (crop_window(rng, (4, 6), (2, 3)) for _ in range(300))}
    assert windows == {(i, j) for i in range(3) for j in range(4)}


@pytest.mark.parametrize('size', [(5, 3), (2, 7)])
def test_a_crop_larger_than_the_image(item, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf'crop \({size[0]}, {size[1]}\).*larger than the image \(4, 6\); resize'):
        RandomCrop(size=size)(item(4, 6, np.random.default_rng(0)))


# Resize


def test_resize_up_and_down_by_hand(item) -> None:
    up = Resize(size=(4, 6))(item(2, 3, None))
    expected = np.repeat(np.repeat(numbers(2, 3), 2, axis=0), 2, axis=1)
    assert np.array_equal(up['gt_maps']['semseg'], expected)
    # 6 -> 3: the middle of new pixel 0 is at 1.0, between old pixels 0 and 1; the right one is taken. 4 -> 3: 0, 2, 3.
    down = Resize(size=(3, 3))(item(4, 6, None))
    expected = numbers(4, 6)[np.ix_([0, 2, 3], [1, 3, 5])]
    assert np.array_equal(down['gt_maps']['semseg'], expected)
    # Values of no map change.
    assert np.array_equal(down['gt_maps']['depth'], expected + 1)
    assert np.array_equal(down['gt_maps']['disparity'], expected + 2)
    assert np.allclose(down['gt_maps']['normals'], unit(0.6, 0.2, -1))
    assert down['gt_maps']['semseg'].dtype == np.uint8 and down['gt_maps']['depth'].dtype == np.float32
    assert down['img_shape'] == (3, 3) and down['ori_shape'] == (4, 6)


def test_pictures_shrink_by_area(item) -> None:
    image = Resize(size=(2, 3))(item(4, 6, None))['imgs'][0][..., 0]
    assert np.array_equal(image, numbers(4, 6).reshape(2, 2, 3, 2).mean(axis=(1, 3)).round())


@pytest.mark.parametrize('size', [(5, 7), (13, 11), (30, 40), (29, 61)])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_nearest_with_pixel_centres(size: tuple[int, int], dtype: type) -> None:
    array = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(dtype)
    centres = [[Fraction(2 * i + 1, 2 * n) * old for i in range(n)] for n, old in zip(size, (30, 40), strict=True)]
    rows, columns = ([int(centre) for centre in axis] for axis in centres)
    resized = resize_map(array, size)
    assert np.array_equal(resized, array[np.ix_(rows, columns)])
    # Where a centre falls between two pixels, OpenCV 4 takes another one than OpenCV 5.
    clear = np.ix_(*([centre.denominator > 1 for centre in axis] for axis in centres))
    opencv = cv2.resize(array, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    assert np.array_equal(resized[clear], opencv[clear])


def test_any_type_of_map_is_resized() -> None:
    assert np.array_equal(resize_map(np.array([[0, 2**40]]), (2, 4)), [[0, 0, 2**40, 2**40]] * 2)


def test_resize_without_maps(item, scripted) -> None:
    results = Resize(size=(8, 9), maps=False)(item(4, 6, scripted(0.0)))
    assert results['imgs'][0].shape == (8, 9, 3) and results['img_shape'] == (8, 9)
    assert all(np.array_equal(results['gt_maps'][n], array) for n, array in item(4, 6, None)['gt_maps'].items())
    with pytest.raises(
        ValueError, match=r"RandomFlip: a map of task 'semseg' has \(4, 6\).*\(8, 9\); Resize\(maps=False\)"
    ):
        RandomFlip(prob=1.0)(results)


@pytest.mark.parametrize(('maps', 'expected'), [(True, (8, 9)), (False, (4, 6))])
def test_the_size_of_the_maps_is_known_without_any(item, maps: bool, expected: tuple[int, int]) -> None:
    unlabelled = item(4, 6, None) | dict(gt_maps={}, map_shape=(4, 6))
    assert Resize(size=(8, 9), maps=maps)(unlabelled)['map_shape'] == expected


# All of them


def test_one_draw_for_all_frames_and_maps(make_results) -> None:
    """An image and maps with equal numbers stay equal under every transform that copies pixels."""
    k = np.tile(np.arange(24, dtype=np.uint8).reshape(4, 6).repeat(4, 0).repeat(4, 1)[..., None], 3)
    transforms = [RandomCrop(size=(12, 20)), RandomFlip(), RandomZoom(zooms=[1.0, 2.0]), RandomFlip()]
    seen = set()
    for seed in range(20):
        maps = dict(semseg=k[..., 0], depth=1 + k[..., 0].astype(np.float32))
        results = make_results([k, k, k], maps, rng=np.random.default_rng(seed), tasks=TASKS)
        for transform in transforms:
            results = transform(results)
        first = results['imgs'][0]
        assert all(np.array_equal(image, first) for image in results['imgs'])
        labels, depth = results['gt_maps']['semseg'], results['gt_maps']['depth']
        ratio = depth / (1 + labels.astype(np.float32))
        assert len(np.unique(ratio.round(5))) == 1 and ratio[0, 0].round(5) in (1.0, 0.5)
        # A zoomed image is interpolated between blocks; away from their edges it shows the label.
        assert (first[..., 0] == labels).mean() > 0.4
        seen.add(first.tobytes())
    assert len(seen) > 10


def test_transforms_follow_each_other(make_results) -> None:
    """Views with negative strides, as a flip leaves them, go through every other transform."""
    chain = [RandomFlip(prob=1.0), RandomRotate(prob=1.0), RandomFlip(prob=1.0), RandomZoom(), RandomFlip(prob=1.0)]
    chain += [RandomCrop(size=(20, 24)), Resize(size=(16, 16))]
    normals = np.tile(unit(0.6, 0.2, -1), (24, 32, 1))
    maps = dict(semseg=np.ones((24, 32), np.uint8), normals=normals, depth=np.ones((24, 32), np.float32))
    results = make_results([np.full((24, 32, 3), 7, np.uint8)], maps, tasks=TASKS)
    for transform in chain:
        results = transform(results)
    assert (results['imgs'][0] == 7).all() and results['imgs'][0].shape == (16, 16, 3)
    length = np.linalg.norm(results['gt_maps']['normals'], axis=-1)
    labelled = results['gt_maps']['semseg'] == 1
    assert labelled.any() and np.allclose(length[labelled], 1, atol=1e-5) and not length[~labelled].any()


@pytest.mark.parametrize('prob', [50, -1, 1.01, float('nan')])
def test_what_is_not_a_probability_is_refused(prob) -> None:
    for kind in (RandomFlip, RandomRotate):
        with pytest.raises(ValueError, match=f'prob .*from 0 to 1, not {prob}'):
            kind(prob=prob)
        assert [kind(prob=edge).prob for edge in (0, 1)] == [0, 1]


@pytest.mark.parametrize('angle', [-10, float('nan')])
def test_impossible_angles_are_refused(angle) -> None:
    with pytest.raises(ValueError, match=f'max_angle .*at least 0, not {angle}'):
        RandomRotate(max_angle=angle)


@pytest.mark.parametrize('size', [512, (512,), (512, 0), (512.0, 512.0), '51'])
def test_impossible_sizes_are_refused(size) -> None:
    for kind in (Resize, RandomCrop):
        with pytest.raises(ValueError, match=r'size must be \(height, width\)'):
            kind(size=size)
        assert kind(size=[3, 4]).size == (3, 4)
