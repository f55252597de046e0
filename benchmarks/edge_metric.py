"""Time the edge metric for one image: curved regions, and a prediction that is shifted, blurred, faded and noisy."""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np
import torch
from torch import Tensor

from mmmtl.ops.edges.thinning import thin
from mmmtl.tasks import EdgeDetection


def scene(regions: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return (prediction, label), each (1, H, W), of the borders of this many regions."""
    generator = np.random.default_rng(0)
    height, width = size
    noise = [generator.standard_normal(size).astype(np.float32) for _ in range(4)]
    y, x = (
        axis + 250 * cv2.GaussianBlur(bend, (0, 0), 20)
        for axis, bend in zip(np.mgrid[:height, :width], noise[:2], strict=True)
    )
    centres = generator.random((regions, 2)) * size
    nearest = np.argmin([(y - row) ** 2 + (x - column) ** 2 for row, column in centres], axis=0)
    label = thin(cv2.Laplacian(nearest.astype(np.float32), cv2.CV_32F) != 0).astype(np.float32)
    fade, clutter = (cv2.GaussianBlur(part, (0, 0), sigma) for part, sigma in zip(noise[2:], (15, 2), strict=True))
    moved = cv2.warpAffine(label, np.array([[1, 0, 1.3], [0, 1, -1.7]]), (width, height))
    edges = cv2.GaussianBlur(moved * (fade - fade.min()) / np.ptp(fade), (0, 0), 2)
    prediction = 0.9 * edges / edges.max() + 0.35 * np.abs(clutter) / np.abs(clutter).max()
    return torch.from_numpy(prediction.clip(0, 1)).float()[None], torch.from_numpy(label)[None]


def main() -> None:
    """Print a row for each scene, distance and number of thresholds: processor time, the median of five."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', type=int, nargs=2, default=(425, 560), metavar=('HEIGHT', 'WIDTH'))
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(f'{"labels":>8} {"distance":>8} {"thresholds":>10} {"seconds":>8} {"odsF":>6}')
    for regions in (25, 80, 150):
        prediction, label = scene(regions, tuple(args.size))
        for distance in (0.0075, 0.011):
            for thresholds in (99, 19):
                task = EdgeDetection(name='edge', max_distance=distance, thresholds=thresholds)
                seconds = []
                for _ in range(5):
                    start = time.process_time()
                    totals = task.measure(prediction, label)
                    seconds.append(time.process_time() - start)
                ods = task.summarize(totals)['odsF']
                print(f'{int(label.sum()):8} {distance:8} {thresholds:10} {np.median(seconds):8.3f} {ods:6.2f}')


if __name__ == '__main__':
    main()
