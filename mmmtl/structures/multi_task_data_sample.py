"""The data sample that a pipeline packs, a model completes and a metric reads."""

from __future__ import annotations

from mmengine.structures import BaseDataElement, PixelData


class MultiTaskDataSample(BaseDataElement):
    """Ground truth and predictions of one image or clip, one map per task.

    `gt` holds the maps that are labelled, `pred` those that were predicted: labels (1, H, W) int64, depth (1, H, W)
    float32 metres, normals (3, H, W) float32 unit vectors. A task without a label has no field in `gt`.

    `flow`, where a data set of whole videos knows it, is (2, H, W) float32: the motion from the frame before to this
    one in pixels (x, y) of the original picture, at the pixels of the frame before; NaN where there is none.

    Metainfo: `img_path`, `ori_shape`, `img_shape` (H, W); for clips `offset` (frames since the key frame, 0 to K - 1)
    and `valid_slots` (last key frame, last non-key frame, current frame); for frames of whole videos `video`, `time`
    and, once a model has seen them, `is_key_frame`.

    Examples:
        >>> import torch
        >>> sample = MultiTaskDataSample(gt=PixelData(depth=torch.ones(1, 4, 6)))
        >>> sample.gt.depth.shape
        torch.Size([1, 4, 6])
    """

    @property
    def gt(self) -> PixelData:
        """The labelled maps, one field per task."""
        return self._gt

    @gt.setter
    def gt(self, value: PixelData) -> None:
        self.set_field(value, '_gt', dtype=PixelData)

    @gt.deleter
    def gt(self) -> None:
        del self._gt

    @property
    def pred(self) -> PixelData:
        """The predicted maps, one field per task."""
        return self._pred

    @pred.setter
    def pred(self, value: PixelData) -> None:
        self.set_field(value, '_pred', dtype=PixelData)

    @pred.deleter
    def pred(self) -> None:
        del self._pred
