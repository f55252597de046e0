"""The data sample that a pipeline packs, a model completes and a metric reads."""

from __future__ import annotations

from mmengine.structures import BaseDataElement, PixelData


class MultiTaskDataSample(BaseDataElement):
    """Ground truth and predictions of one image or clip, one map per task.

    `gt` holds the labelled maps and `pred` the predicted ones: labels (1, H, W) int64, depth (1, H, W) float32 metres,
    normals (3, H, W) float32 unit vectors. A task without a label has no field in `gt`.

    `flow` is the motion from the previous frame to this one, (2, H, W) float32 in pixels (x, y) of the original image,
    at the pixels of the previous frame; NaN where unknown. Only some data sets of whole videos provide it.

    Metainfo: `img_path`; `ori_shape` and `img_shape` (H, W); `map_shape` (H, W) where labels are loaded, also if there
    are none; `video` and `time` where a data set names them. Clips also have `offset` (frames since the key frame, 0 to
    K - 1) and `slots` (times of last key frame, last non-key frame and current frame, relative to the current one; None
    is a frame that is not read). Frames of whole videos have `is_key_frame` after a video model has processed them.

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
