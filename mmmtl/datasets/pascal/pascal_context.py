"""PASCAL-Context with five tasks, as multi-task papers since ASTMT store it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mmmtl.datasets.base import MultiTaskDataset
from mmmtl.datasets.frames import Frame
from mmmtl.datasets.readers import as_map, check_signs, list_stems, listed_files, read_names, read_stored
from mmmtl.io.arrays import read_mat
from mmmtl.ops.edges.thinning import thin
from mmmtl.registry import DATASETS
from mmmtl.structures import Array
from mmmtl.tasks.base import IGNORE
from mmmtl.tasks.stored import decode_normals

from .labels import INDOOR
from .parts import PERSON, read_classes, read_parts

LABELS = 'pascal-context/trainval/{name}.mat'
FILES = dict(
    semseg=('semseg/VOC12/{name}.png', 'semseg/pascal-context/{name}.png'),
    human_parts=('human_parts/{name}.mat',),
    saliency=('sal_distill/{name}.png',),
    normals=('normals_distill/{name}.png',),
    edge=('edge/{name}.png', LABELS),
)
"""Files of the labels of each source; the first that exists counts."""


@DATASETS.register_module()
class PASCALContext(MultiTaskDataset):
    """PASCAL-Context: 4998 train and 5105 val images; the layouts `PASCAL_MT` and `PASCALContext`.

    ```
    ImageSets/Context/{train,val}.txt           names, one per line
    ImageSets/Parts/{train,val}.txt             optional: JSON, {name: classes of its objects}
    JPEGImages/{name}.jpg                       of any size
    semseg/VOC12/{name}.png                     0 to 20, 255 = ignore; if missing:
    semseg/pascal-context/{name}.png            the same
    human_parts/{name}.mat                      `anno`, PASCAL-Part
    sal_distill/{name}.png                      grey, above 127.5 = salient
    normals_distill/{name}.png                  RGB, v = (n + 1) / 2 * 255
    pascal-context/trainval/{name}.mat          `LabelMap`, the 459 labels of PASCAL-Context, 0 = none
    edge/{name}.png                             optional: above 0 = edge
    ```

    Missing labels are left out. Sources:

    - `semseg` (`classes='pascal_21'`);
    - `human_parts` (`classes='human_parts_7'`). In an image without an annotated part of a person, every pixel is 255
      or, with the list in `ImageSets/Parts`, there is no label;
    - `saliency` and `normals`, predicted by other networks. Normals count where `LabelMap` has a class that also occurs
      indoors, in NYU Depth v2;
    - `edge`, 0 or 1: where the Laplacian of `LabelMap` is not zero, thinned to one pixel.

    Args:
        split: 'train' or 'val'.
        normal_signs: factors 1 or -1 that turn the stored x, y, z into those of the package (x right, y down, z
            forward). The data set does not document its axes; its scores do not depend on them, but ATRC's label
            contexts do. `tools/dataset_converters/pascal_context.py` tells which way z points. The stored vectors turn
            with the image as ours do, so x and y must change their signs together.
    """

    split: str
    normal_signs: tuple[int, int, int] = (1, 1, 1)

    def load_frames(self) -> Iterator[Frame]:
        check_signs(self.normal_signs)
        root = self.root
        names = root / 'ImageSets' / 'Context' / f'{self.split}.txt'
        images = listed_files(read_names(names), list_stems(root / 'JPEGImages'), names)
        classes = read_classes(root / 'ImageSets' / 'Parts' / f'{self.split}.txt')
        for name, image in images.items():
            files = {source: [root / form.format(name=name) for form in forms] for source, forms in FILES.items()}
            maps = {source: next((file for file in some if file.exists()), None) for source, some in files.items()}
            if PERSON not in classes.get(name, [PERSON]):
                del maps['human_parts']
            found = {source: file for source, file in maps.items() if file is not None}
            yield Frame(name, 0, image, found)

    def read_map(self, source: str, reference: Path) -> Array:
        if source == 'human_parts':
            if (labels := read_parts(reference)) is not None:
                return labels
            image = self.read_image(self.root / 'JPEGImages' / f'{reference.stem}.jpg')
            return np.full(image.shape[:2], IGNORE, dtype=np.uint8)
        if source == 'edge' and reference.suffix == '.mat':
            return label_edges(self._read_labels(reference.stem)).astype(np.float32)
        array = read_stored(reference, np.uint8, channels=3 if source == 'normals' else 1, lossy=source != 'semseg')
        if source == 'normals':
            indoors = np.isin(self._read_labels(reference.stem), INDOOR)
            if indoors.shape != array.shape[:2]:
                raise ValueError(
                    f'{reference}: {array.shape[:2]} pixels, but LabelMap, which says where normals count, has '
                    f'{indoors.shape} (height, width); they must be equal'
                )
            normals = decode_normals(array) * np.array(self.normal_signs, dtype=np.float32)
            return np.where(indoors[..., None], normals, 0).astype(np.float32)
        if source == 'semseg':
            return array
        return (array > (127 if source == 'saliency' else 0)).astype(np.float32)

    def _read_labels(self, name: str) -> Array:
        path = self.root / LABELS.format(name=name)
        return as_map(read_mat(path, 'LabelMap'), path, channels=1)


def label_edges(labels: Array) -> Array:
    """Return where the Laplacian (4 neighbours) of (H, W) label numbers is not zero, thinned to one pixel; bool."""
    return thin(cv2.Laplacian(labels.astype(np.float64), cv2.CV_64F) != 0)
