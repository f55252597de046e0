"""The visualiser of all tasks: it asks each task to draw."""

from __future__ import annotations

from typing import Any

from mmengine.structures import PixelData
from mmengine.visualization import Visualizer

from mmmtl.registry import VISUALIZERS
from mmmtl.structures import Array, MultiTaskDataSample
from mmmtl.tasks import build_tasks, main_tasks

from .painter import Painter, frame_title


@VISUALIZERS.register_module()
class MultiTaskVisualizer(Visualizer):
    """mmengine's Visualizer with a panel of all tasks but auxiliary ones, which come from the data set's metainfo."""

    @property
    def dataset_meta(self) -> dict[str, Any] | None:
        """The metainfo of the data set; mmengine's visualiser has it in the first process alone."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict[str, Any]) -> None:
        self._dataset_meta = dataset_meta

    def draw_sample(
        self, image: Array, sample: MultiTaskDataSample, *, draw_gt: bool = True, draw_pred: bool = True
    ) -> Array:
        """Draw a row of labels and a row of predictions beside the image; return (H', W', 3) uint8 RGB.

        Args:
            image: (H, W, 3) uint8 RGB.
            sample: may lack `gt`, `pred` or both; a row without maps is left out. The title names its `video`, `time`,
                and `offset` or `is_key_frame`, where it has them.
            draw_gt: draw the labels.
            draw_pred: draw the predictions.
        """
        tasks = main_tasks(build_tasks((self.dataset_meta or {}).get('tasks'), 'the visualiser'))
        rows = {
            what: maps
            for field, what, wanted in (('gt', 'label', draw_gt), ('pred', 'prediction', draw_pred))
            if wanted and field in sample and (maps := _arrays(getattr(sample, field)))
        }
        is_key, offset = sample.get('is_key_frame'), sample.get('offset')
        name, time = sample.get('video', ''), sample.get('time')
        title = frame_title(name, time, is_key=is_key, since_key=offset)
        return Painter(tasks).panel(image, rows, title=title, mark=bool(is_key) or offset == 0)

    def add_datasample(
        self,
        name: str,
        image: Array,
        data_sample: MultiTaskDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: int = 0,
        step: int = 0,
    ) -> None:
        """Draw a sample and pass it to the backends, as mmengine demands."""
        assert data_sample is not None
        panel = self.draw_sample(image, data_sample, draw_gt=draw_gt, draw_pred=draw_pred)
        if show:
            self.show(panel, win_name=name, wait_time=wait_time)
        self.add_image(name, panel, step=step)


def _arrays(maps: PixelData) -> dict[str, Array]:
    return {name: tensor.cpu().numpy() for name, tensor in maps.items()}
