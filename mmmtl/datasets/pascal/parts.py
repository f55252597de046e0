"""People and their parts: the annotations of PASCAL-Part."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmmtl.io.arrays import read_mat
from mmmtl.io.files import read_json
from mmmtl.structures import Array

PartObject = tuple[int, Array, list[tuple[str, Array]]]

PERSON = 15
"""The class of people, as in PASCAL VOC."""

PART_GROUPS = {
    1: ('head', 'hair', 'leye', 'reye', 'lebrow', 'rebrow', 'lear', 'rear', 'nose', 'mouth'),
    2: ('neck', 'torso'),
    3: ('luarm', 'ruarm'),
    4: ('llarm', 'lhand', 'rlarm', 'rhand'),
    5: ('luleg', 'ruleg'),
    6: ('llleg', 'lfoot', 'rlleg', 'rfoot'),
}
"""The 24 parts of a person by class of `human_parts_7`, grouped as in ASTMT."""
LABEL_OF_PART = {part: label for label, parts in PART_GROUPS.items() for part in parts}


def read_classes(path: Path) -> dict[str, list[int]]:
    """Return {name of an image: classes of its objects in PASCAL-Part, -1 for an empty one}; {} without a list."""
    if not path.is_file():
        return {}
    classes = read_json(path)
    if not isinstance(classes, dict) or not all(isinstance(ids, list) for ids in classes.values()):
        raise ValueError(f'{path}: not {{name: list of classes}}; remove this optional file')
    return classes


def read_objects(path: Path) -> list[PartObject]:
    """Return the objects of an annotation file: class, mask (H, W), and name and mask of each part.

    Fields are found by position (image, objects; name, class, mask, parts; name, mask), not by name.
    """
    anno = read_mat(path, 'anno')
    try:
        return [
            (int(thing[1].item()), thing[2], [(str(part[0].item()), part[1]) for part in thing[3].ravel()])
            for thing in anno.ravel()[0][1].ravel()
        ]
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f'{path}: `anno` is not an annotation of PASCAL-Part ({error}); copy the file again'
        ) from error


def read_parts(path: Path) -> Array | None:
    """Return labels of `human_parts_7`, uint8, of the people in an annotation file; None if they have no parts.

    Where parts overlap, the later one counts. An unknown part, or parts of different sizes, are refused.
    """
    labels = None
    for name, mask in (part for kind, _, parts in read_objects(path) if kind == PERSON for part in parts):
        if name not in LABEL_OF_PART:
            raise ValueError(f'{path}: unknown part {name!r} of a person, not one of {sorted(LABEL_OF_PART)}')
        if labels is None:
            labels = np.zeros(mask.shape, dtype=np.uint8)
        if mask.shape != labels.shape:
            raise ValueError(f'{path}: part {name!r} has shape {mask.shape}, another one {labels.shape}')
        labels[mask.astype(bool)] = LABEL_OF_PART[name]
    return labels if labels is not None and labels.any() else None
