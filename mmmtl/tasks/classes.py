"""Class names and colours of the data sets, by name."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from difflib import get_close_matches

Colour = tuple[int, int, int]

CLASSES: dict[str, dict[str, Colour]] = {
    'camvid_11': {
        'sky': (128, 128, 128),
        'building': (128, 0, 0),
        'pole': (192, 192, 128),
        'road': (128, 64, 128),
        'pavement': (60, 40, 222),
        'tree': (128, 128, 0),
        'sign': (192, 128, 128),
        'fence': (64, 64, 128),
        'car': (64, 0, 128),
        'pedestrian': (64, 64, 0),
        'bicyclist': (0, 128, 192),
    },
    'cityscapes_7': {
        'flat': (128, 64, 128),
        'construction': (70, 70, 70),
        'object': (153, 153, 153),
        'nature': (107, 142, 35),
        'sky': (70, 130, 180),
        'human': (220, 20, 60),
        'vehicle': (0, 0, 142),
    },
    'cityscapes_19': {
        'road': (128, 64, 128),
        'sidewalk': (244, 35, 232),
        'building': (70, 70, 70),
        'wall': (102, 102, 156),
        'fence': (190, 153, 153),
        'pole': (153, 153, 153),
        'traffic light': (250, 170, 30),
        'traffic sign': (220, 220, 0),
        'vegetation': (107, 142, 35),
        'terrain': (152, 251, 152),
        'sky': (70, 130, 180),
        'person': (220, 20, 60),
        'rider': (255, 0, 0),
        'car': (0, 0, 142),
        'truck': (0, 0, 70),
        'bus': (0, 60, 100),
        'train': (0, 80, 100),
        'motorcycle': (0, 0, 230),
        'bicycle': (119, 11, 32),
    },
    'house_13': {
        'wall': (174, 199, 232),
        'floor': (152, 223, 138),
        'ceiling': (78, 71, 183),
        'window': (197, 176, 213),
        'door': (214, 39, 40),
        'bed': (255, 187, 120),
        'sofa': (140, 86, 75),
        'chair': (188, 189, 34),
        'table': (255, 152, 150),
        'cabinet': (31, 119, 180),
        'picture': (196, 156, 148),
        'appliance': (112, 128, 144),
        'object': (82, 84, 163),
    },
    'nyuv2_13': {
        'bed': (255, 187, 120),
        'books': (148, 103, 189),
        'ceiling': (78, 71, 183),
        'chair': (188, 189, 34),
        'floor': (152, 223, 138),
        'furniture': (31, 119, 180),
        'objects': (82, 84, 163),
        'picture': (196, 156, 148),
        'sofa': (140, 86, 75),
        'table': (255, 152, 150),
        'tv': (44, 160, 44),
        'wall': (174, 199, 232),
        'window': (197, 176, 213),
    },
    'nyuv2_40': {
        'wall': (128, 0, 0),
        'floor': (0, 128, 0),
        'cabinet': (128, 128, 0),
        'bed': (0, 0, 128),
        'chair': (128, 0, 128),
        'sofa': (0, 128, 128),
        'table': (128, 128, 128),
        'door': (64, 0, 0),
        'window': (192, 0, 0),
        'bookshelf': (64, 128, 0),
        'picture': (192, 128, 0),
        'counter': (64, 0, 128),
        'blinds': (192, 0, 128),
        'desk': (64, 128, 128),
        'shelves': (192, 128, 128),
        'curtain': (0, 64, 0),
        'dresser': (128, 64, 0),
        'pillow': (0, 192, 0),
        'mirror': (128, 192, 0),
        'floor mat': (0, 64, 128),
        'clothes': (128, 64, 128),
        'ceiling': (0, 192, 128),
        'books': (128, 192, 128),
        'refrigerator': (64, 64, 0),
        'television': (192, 64, 0),
        'paper': (64, 192, 0),
        'towel': (192, 192, 0),
        'shower curtain': (64, 64, 128),
        'box': (192, 64, 128),
        'whiteboard': (64, 192, 128),
        'person': (192, 192, 128),
        'night stand': (0, 0, 64),
        'toilet': (128, 0, 64),
        'sink': (0, 128, 64),
        'lamp': (128, 128, 64),
        'bathtub': (0, 0, 192),
        'bag': (128, 0, 192),
        'otherstructure': (0, 128, 192),
        'otherfurniture': (128, 128, 192),
        'otherprop': (64, 0, 64),
    },
    'synthetic': {
        'ground': (128, 64, 128),
        'wall': (70, 70, 70),
        'ceiling': (190, 153, 153),
        'sky': (70, 130, 180),
        'box': (0, 0, 142),
        'ball': (220, 20, 60),
        'pillar': (250, 170, 30),
    },
}
"""Names and RGB colours, in the order of the labels."""


def class_list(
    classes: str | Sequence[str], palette: Sequence[Sequence[int]] | None = None
) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """Names and colours of `classes`, a name in `CLASSES` or the class names themselves.

    Raises:
        ValueError: an unknown list, repeated names, or a palette of another length or with impossible colours.

    Examples:
        >>> class_list(['wall', 'floor'], palette=[[0, 0, 0], [255, 0, 0]])
        (('wall', 'floor'), ((0, 0, 0), (255, 0, 0)))
    """
    if isinstance(classes, str):
        if classes not in CLASSES:
            near = get_close_matches(classes, CLASSES, n=3) or sorted(CLASSES)
            raise ValueError(f'unknown class list {classes!r}; did you mean {near}? Or give the class names as a list.')
        names, colours = tuple(CLASSES[classes]), tuple(CLASSES[classes].values())
    else:
        names, colours = tuple(classes), tuple(_hue(i, len(classes)) for i in range(len(classes)))
    if not names or len(set(names)) != len(names):
        raise ValueError(f'classes must be distinct and not empty, not {names}')
    if palette is not None:
        if len(palette) != len(names):
            raise ValueError(f'{len(palette)} colours in the palette for {len(names)} classes')
        if wrong := [colour for colour in palette if len(colour) != 3 or not all(0 <= c <= 255 for c in colour)]:
            raise ValueError(f'colours of a palette are three numbers in 0..255, not {wrong[:3]}')
        colours = tuple((int(r), int(g), int(b)) for r, g, b in palette)
    return names, colours


def _hue(index: int, count: int) -> Colour:
    """One of `count` evenly spread hues; brightness alternates so that neighbours differ."""
    r, g, b = colorsys.hsv_to_rgb(index / count, 0.75, 0.95 if index % 2 == 0 else 0.65)
    return round(255 * r), round(255 * g), round(255 * b)
