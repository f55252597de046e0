"""NYU Depth v2 and Cityscapes as NumPy files, in the form that MTAN's authors published."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmmtl.io.arrays import read_npy
from mmmtl.registry import DATASETS
from mmmtl.structures import Array

from .base import MultiTaskDataset
from .cityscapes import decode_disparity, decode_labels
from .frames import Frame
from .readers import as_map, check_signs, list_stems, read_stored, to_labels, unit_normals


class NumberedFolders(MultiTaskDataset):
    """Numbered files in one folder per kind: `{split}/{folder}/{number}`, images in `image`.

    Args:
        split: 'train' or 'val'.
    """

    folders: ClassVar[dict[str, tuple[str, ...]]]
    """Folders of the maps of each source; the first that has the file counts."""

    split: str

    def load_frames(self) -> Iterator[Frame]:
        """Return the images of the split, in the order of their numbers."""
        root = self.root / self.split
        images = list_stems(root / 'image')
        maps = {
            source: ChainMap(*(list_stems(root / folder) for folder in folders))
            for source, folders in self.folders.items()
        }
        for number in sorted(set(images).union(*maps.values()), key=lambda name: (len(name), name)):
            found = {source: files[number] for source, files in maps.items() if number in files}
            yield Frame(number, 0, images.get(number), found)

    def read_image(self, reference: Path) -> Array:
        """Return an image; NumPy files hold RGB between 0 and 1."""
        if reference.suffix != '.npy':
            return super().read_image(reference)
        rgb = as_map(read_npy(reference), reference, channels=3)
        if not np.issubdtype(rgb.dtype, np.floating) or not (rgb.min() >= -1e-3 and rgb.max() <= 1 + 1e-3):
            raise ValueError(
                f'{reference}: {rgb.dtype} from {rgb.min()} to {rgb.max()} instead of floats between 0 and 1; '
                'divide it by 255'
            )
        return np.ascontiguousarray((255 * rgb[..., ::-1]).round().clip(0, 255).astype(np.uint8))


@DATASETS.register_module()
class MTANNYUv2(NumberedFolders):
    """NYU Depth v2 in MTAN's form: 795 train and 654 val images of 288x384 pixels.

    ```
    {train,val}/image/{i}.npy     (H, W, 3) RGB from 0 to 1
    {train,val}/label/{i}.npy     (H, W), -1 = void, 0 to 12
    {train,val}/depth/{i}.npy     (H, W, 1) metres, 0 = none
    {train,val}/normal/{i}.npy    (H, W, 3), the zero vector = none
    ```

    Sources: `semseg` (`classes='nyuv2_13'`), `depth` and `normals`.

    Args:
        split: 'train' or 'val'.
        normal_signs: factors 1 or -1 that turn the stored x, y, z into those of the package (x right, y down, z
            forward); `tools/dataset_converters/mtan.py` finds them from the depth.
    """

    folders = dict(semseg=('label',), depth=('depth',), normals=('normal',))

    normal_signs: tuple[int, int, int] = (1, 1, 1)

    def load_frames(self) -> Iterator[Frame]:
        check_signs(self.normal_signs)
        return super().load_frames()

    def read_map(self, source: str, reference: Path) -> Array:
        array = as_map(read_npy(reference), reference, channels=3 if source == 'normals' else 1)
        if source == 'normals':
            return unit_normals(array) * np.array(self.normal_signs, dtype=np.float32)
        if source == 'depth':
            return array.astype(np.float32)
        return to_labels(array, reference, lowest=-1, highest=12)


@DATASETS.register_module()
class MTANCityscapes(NumberedFolders):
    """Cityscapes in MTAN's form, or in Auto-lambda's: 2975 train and 500 val stills, 128x256 or 256x512 pixels.

    ```
    {train,val}/image/{i}.npy       (H, W, 3) RGB from 0 to 1; or .png
    {train,val}/label_2/{i}.npy     (H, W), -1 = void, 0 and 1
    {train,val}/label_7/{i}.npy     -1 to 6; LibMTL calls the folder `label`
    {train,val}/label_19/{i}.npy    -1 to 18
    {train,val}/seg/{i}.png         label ids, for 7 and 19 classes
    {train,val}/depth/{i}.npy       (H, W, 1) p / 65535 of the official disparity file, 0 = none; or p, as uint16 .png
    ```

    Sources: `semseg` (`classes='cityscapes_19'`), `semseg7` (`classes='cityscapes_7'`), `semseg2` and `disparity`. The
    files called depth hold inverse depth: they are read as pixels of disparity at the full width of 2048, as in
    `Cityscapes`; `DisparityEstimation(unit='raw')` learns and scores the stored p / 65535, but for p = 1, which is 0
    pixels and counts as none. This unit is inferred from the largest value, 32257 / 65535 = 0.4922.
    """

    folders = dict(
        semseg=('label_19', 'seg'), semseg7=('label_7', 'label', 'seg'), semseg2=('label_2',), disparity=('depth',)
    )

    def read_map(self, source: str, reference: Path) -> Array:
        if reference.suffix == '.png':
            if source == 'disparity':
                return decode_disparity(read_stored(reference, np.uint16))
            return decode_labels(read_stored(reference, np.uint8), categories=source == 'semseg7')
        array = as_map(read_npy(reference), reference, channels=1)
        if source != 'disparity':
            return to_labels(array, reference, lowest=-1, highest=dict(semseg=18, semseg7=6, semseg2=1)[source])
        if not (array.min() >= 0 and array.max() <= 1):
            raise ValueError(
                f'{reference}: {array.min()} to {array.max()} instead of disparity p / 65535 in 0..1; with other units '
                'use a VideoFolder'
            )
        disparity: Array = np.maximum(decode_disparity(65535 * array.astype(np.float32)), 0)
        return disparity
