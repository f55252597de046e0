"""NYU Depth v2 with four tasks, as multi-task papers since ASTMT store it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmmtl.io.arrays import read_mat, read_npy
from mmmtl.io.labels import read_raw
from mmmtl.registry import DATASETS
from mmmtl.structures import Array
from mmmtl.tasks.stored import decode_normals

from .base import MultiTaskDataset
from .frames import Frame
from .nyuv2 import classes_13
from .readers import as_map, check_signs, list_stems, listed_files, read_names, to_labels, unit_normals

IMAGES = ('.jpg', '.jpeg', '.png')
READABLE = dict(
    images=IMAGES,
    segmentation=('.png', '.mat'),
    depth=('.npy', '.mat'),
    normals=('.npy', *IMAGES),
    edge=('.npy', *IMAGES),
)
FOLDERS = dict(semseg='segmentation', semseg13='segmentation', depth='depth', normals='normals', edge='edge')


@DATASETS.register_module()
class NYUD(MultiTaskDataset):
    """NYU Depth v2: 795 train and 654 val images of indoor scenes; the layouts `NYUD_MT`, `NYUDv2` and that of ASTMT.

    ```
    gt_sets/{train,val}.txt     names, one per line
    images/{name}               .jpg or .png, of any size
    segmentation/{name}         0 = void, 1 to 40: .png, or .mat (variable `segmentation`)
    depth/{name}                metres, 0 = none: .npy, or .mat (variable `depth`)
    normals/{name}              vectors, zero = none: .npy, or RGB of .png or .jpg, v = (n + 1) / 2 * 255, grey = none
    edge/{name}                 0 to 1: .npy, or .png or .jpg / 255
    ```

    The suffix of a file decides how it is read, so folders of different origin can be mixed. Missing labels are left
    out.

    Sources: `semseg` (`classes='nyuv2_40'`), `semseg13` (`classes='nyuv2_13'`), `depth`, `normals` and `edge`.

    Args:
        split: 'train' or 'val'.
        normal_signs: factors 1 or -1 that turn the stored x, y, z into those of the package (x right, y down, z
            forward). Copies differ without saying so; `tools/dataset_converters/nyud.py` finds them from the depth.
    """

    split: str
    normal_signs: tuple[int, int, int] = (1, 1, 1)

    def load_frames(self) -> Iterator[Frame]:
        check_signs(self.normal_signs)
        files = {folder: list_stems(self.root / folder) for folder in READABLE}
        names = self.root / 'gt_sets' / f'{self.split}.txt'
        for name, image in listed_files(read_names(names), files['images'], names).items():
            for folder, suffixes in READABLE.items():
                if (path := files[folder].get(name)) is not None and path.suffix.lower() not in suffixes:
                    raise ValueError(f'{path}: not one of {", ".join(suffixes)}; convert the file or remove it')
            maps = {source: files[folder][name] for source, folder in FOLDERS.items() if name in files[folder]}
            yield Frame(name, 0, image, maps)

    def read_map(self, source: str, reference: Path) -> Array:
        folder = FOLDERS[source]
        suffix = reference.suffix.lower()
        if suffix in IMAGES:
            array = read_raw(reference, lossy=folder in ('normals', 'edge'))
        else:
            array = read_npy(reference) if suffix == '.npy' else read_mat(reference, folder)
        array = as_map(array, reference, channels=3 if folder == 'normals' else 1)
        if folder == 'normals':
            normals = decode_normals(array) if suffix in IMAGES else unit_normals(array)
            return normals * np.array(self.normal_signs, dtype=np.float32)
        if folder == 'segmentation':
            labels = to_labels(array, reference, lowest=0, highest=40)
            return classes_13(labels) if source == 'semseg13' else labels
        grey = folder == 'edge' and suffix in IMAGES and array.max(initial=0) > 1
        return array.astype(np.float32) / (255 if grey else 1)
