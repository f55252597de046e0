"""Tables printed in papers, for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper, as printed.

    Args:
        source: paper, table and data set.
        columns: `<task>/<metric>` of each value.
        rows: {method: (*values, delta_m)}; the first row is the baseline.
    """

    source: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float, ...]]

    @property
    def baseline(self) -> str:
        """The baseline method of delta_m."""
        return next(iter(self.rows))

    def metrics(self, method: str) -> dict[str, float]:
        """Return {`<task>/<metric>`: value} of a method."""
        return dict(zip(self.columns, self.rows[method][:-1], strict=True))

    def delta_m(self, method: str) -> float:
        """Return the printed delta_m of a method, which may differ from the one computed from its metrics."""
        return self.rows[method][-1]


# The papers compute delta_m of depth from `rmse`: the task needs primary_metric='rmse'.
PUBLISHED = {
    'sca_table1': PublishedTable(
        'SCA-MTL, table 1: NYUD-v2, two tasks, HRNet18',
        ('depth/rmse', 'semseg/mIoU'),
        {
            'single task': (0.644, 35.04, 0.00),
            'multi-task': (0.674, 35.03, -2.46),
            'PAD-Net': (0.624, 36.72, 3.94),
            'MTI-Net': (0.611, 37.21, 5.65),
            'ATRC': (0.613, 40.99, 10.89),
            'SCA-MTL student': (0.597, 40.21, 11.02),
            'SCA-MTL teacher': (0.604, 41.33, 12.07),
        },
    ),
    'sca_table2': PublishedTable(
        'SCA-MTL, table 2: NYUD-v2, three tasks, HRNet18',
        ('depth/rmse', 'semseg/mIoU', 'normals/mean'),
        {
            'single task': (0.625, 37.99, 20.87, 0.00),
            'multi-task': (0.646, 35.55, 21.99, -5.03),
            'PAD-Net': (0.640, 35.75, 21.28, -4.41),
            'MTI-Net': (0.598, 37.17, 21.28, 0.07),
            'ATRC': (0.609, 37.50, 20.50, 1.02),
            'SCA-MTL': (0.584, 40.50, 20.59, 4.82),
        },
    ),
    'sca_table3': PublishedTable(
        'SCA-MTL, table 3: Pascal-Context, two tasks, HRNet18',
        ('normals/mean', 'semseg/mIoU'),
        {
            'single task': (14.87, 57.33, 0.00),
            'multi-task': (14.61, 53.95, -3.81),
            'PAD-Net': (14.77, 54.18, -2.39),
            'MTI-Net': (14.55, 59.08, 2.59),
            'ATRC': (13.58, 55.49, 2.73),
            'SCA-MTL': (13.89, 60.09, 5.69),
        },
    ),
    'sca_table4': PublishedTable(
        'SCA-MTL, table 4: Pascal-Context, three tasks, HRNet18',
        ('normals/mean', 'semseg/mIoU', 'parts/mIoU'),
        {
            'single task': (14.87, 57.33, 60.08, 0.00),
            'multi-task': (14.95, 53.79, 59.45, -2.56),
            'PAD-Net': (15.04, 55.77, 59.81, -1.42),
            'MTI-Net': (14.94, 59.04, 61.56, 1.66),
            'ATRC': (13.71, 57.94, 58.08, 1.84),
            'SCA-MTL': (14.71, 59.10, 62.47, 2.69),
        },
    ),
    'sca_table5': PublishedTable(
        'SCA-MTL, table 5: NYUD-v2, two tasks, HRNet18, modules one by one',
        ('depth/rmse', 'depth/rmse_log', 'semseg/mIoU'),
        {
            'MTI-Net': (0.611, 0.2086, 37.21, 0.00),
            '+ self-attention': (0.610, 0.2086, 38.80, 2.21),
            '+ FPMA': (0.609, 0.2085, 38.94, 2.48),
            '+ CTAM': (0.605, 0.2077, 39.14, 3.08),
            '+ CSAM': (0.604, 0.2064, 41.33, 6.10),
        },
    ),
}
"""Tables by name, each usable as the `baseline` of `MultiTaskMetric`."""
