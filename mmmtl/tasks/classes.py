"""Lists of class names and colours for the data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmmtl._suggestions import did_you_mean

from .colour import distinct_colours
from .legend import Colour


def _voc(index: int) -> Colour:
    """Return a colour of PASCAL VOC's colour map: the bits of `index` in turn are the high bits of R, G and B."""
    r, g, b = (sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3))
    return r, g, b


NYUV2_NAMES = (
    'wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf', 'picture', 'counter',
    'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow', 'mirror', 'floor mat', 'clothes', 'ceiling', 'books',
    'refrigerator', 'television', 'paper', 'towel', 'shower curtain', 'box', 'whiteboard', 'person', 'night stand',
    'toilet', 'sink', 'lamp', 'bathtub', 'bag', 'otherstructure', 'otherfurniture', 'otherprop',
)  # fmt: skip
PARTS_NAMES = ('background', 'head', 'torso', 'upper arm', 'lower arm', 'upper leg', 'lower leg')
PASCAL_NAMES = (
    'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable',
    'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor',
)  # fmt: skip
# From the data set's label_num_dic_final.json, which has no colours.
VSPW_NAMES = (
    'wall', 'ceiling', 'door', 'stair', 'ladder', 'escalator', 'Playground_slide', 'handrail_or_fence', 'window',
    'rail', 'goal', 'pillar', 'pole', 'floor', 'ground', 'grass', 'sand', 'athletic_field', 'road', 'path',
    'crosswalk', 'building', 'house', 'bridge', 'tower', 'windmill', 'well_or_well_lid', 'other_construction',
    'sky', 'mountain', 'stone', 'wood', 'ice', 'snowfield', 'grandstand', 'sea', 'river', 'lake', 'waterfall',
    'water', 'billboard_or_Bulletin_Board', 'sculpture', 'pipeline', 'flag', 'parasol_or_umbrella',
    'cushion_or_carpet', 'tent', 'roadblock', 'car', 'bus', 'truck', 'bicycle', 'motorcycle', 'wheeled_machine',
    'ship_or_boat', 'raft', 'airplane', 'tyre', 'traffic_light', 'lamp', 'person', 'cat', 'dog', 'horse', 'cattle',
    'other_animal', 'tree', 'flower', 'other_plant', 'toy', 'ball_net', 'backboard', 'skateboard', 'bat', 'ball',
    'cupboard_or_showcase_or_storage_rack', 'box', 'traveling_case_or_trolley_case', 'basket', 'bag_or_package',
    'trash_can', 'cage', 'plate', 'tub_or_bowl_or_pot', 'bottle_or_cup', 'barrel', 'fishbowl', 'bed', 'pillow',
    'table_or_desk', 'chair_or_seat', 'bench', 'sofa', 'shelf', 'bathtub', 'gun', 'commode', 'roaster',
    'other_machine', 'refrigerator', 'washing_machine', 'Microwave_oven', 'fan', 'curtain', 'textiles', 'clothes',
    'painting_or_poster', 'mirror', 'flower_pot_or_vase', 'clock', 'book', 'tool', 'blackboard', 'tissue',
    'screen_or_television', 'computer', 'printer', 'Mobile_phone', 'keyboard', 'other_electronic_product', 'fruit',
    'food', 'instrument', 'train',
)  # fmt: skip

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
    'human_parts_7': {name: _voc(i) for i, name in enumerate(PARTS_NAMES)},
    # The names have no colours of their own; these are far apart for every colour vision.
    'nyuv2_13': {
        'bed': (230, 159, 0),
        'books': (204, 121, 167),
        'ceiling': (255, 255, 255),
        'chair': (240, 228, 66),
        'floor': (0, 158, 115),
        'furniture': (213, 94, 0),
        'objects': (98, 14, 126),
        'picture': (88, 54, 62),
        'sofa': (0, 114, 178),
        'table': (86, 180, 233),
        'tv': (56, 8, 0),
        'wall': (169, 205, 187),
        'window': (238, 210, 255),
    },
    'nyuv2_40': {name: _voc(i) for i, name in enumerate(NYUV2_NAMES, start=1)},
    'pascal_21': {name: _voc(i) for i, name in enumerate(PASCAL_NAMES)},
    'semantickitti_19': {
        'car': (100, 150, 245),
        'bicycle': (100, 230, 245),
        'motorcycle': (30, 60, 150),
        'truck': (80, 30, 180),
        'other-vehicle': (0, 0, 255),
        'person': (255, 30, 30),
        'bicyclist': (255, 40, 200),
        'motorcyclist': (150, 30, 90),
        'road': (255, 0, 255),
        'parking': (255, 150, 255),
        'sidewalk': (75, 0, 75),
        'other-ground': (175, 0, 75),
        'building': (255, 200, 0),
        'fence': (255, 120, 50),
        'vegetation': (0, 175, 0),
        'trunk': (135, 60, 0),
        'terrain': (150, 240, 80),
        'pole': (255, 240, 150),
        'traffic-sign': (255, 0, 0),
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
    'vkitti_14': {
        'Terrain': (210, 0, 200),
        'Sky': (90, 200, 255),
        'Tree': (0, 199, 0),
        'Vegetation': (90, 240, 0),
        'Building': (140, 140, 140),
        'Road': (100, 60, 100),
        'GuardRail': (250, 100, 255),
        'TrafficSign': (255, 255, 0),
        'TrafficLight': (200, 200, 0),
        'Pole': (255, 130, 0),
        'Misc': (80, 80, 80),
        'Truck': (160, 60, 60),
        'Car': (255, 127, 80),
        'Van': (0, 139, 139),
    },
    'vspw_124': dict(zip(VSPW_NAMES, distinct_colours(len(VSPW_NAMES)), strict=True)),
}
"""Class names and RGB colours by list name, in the order of the labels."""


def class_list(
    classes: str | Sequence[str], palette: Sequence[Sequence[int]] | None = None
) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """Return the names and colours of `classes`, which is a name in `CLASSES` or the class names.

    Examples:
        >>> class_list(['wall', 'floor'], palette=[[0, 0, 0], [255, 0, 0]])
        (('wall', 'floor'), ((0, 0, 0), (255, 0, 0)))
    """
    if isinstance(classes, str):
        if classes not in CLASSES:
            hint = did_you_mean(classes, CLASSES)
            raise ValueError(f'unknown class list {classes!r}, and not a list of the names of classes; {hint}')
        names, colours = tuple(CLASSES[classes]), tuple(CLASSES[classes].values())
    else:
        names, colours = tuple(classes), distinct_colours(len(classes))
    if not names or len(set(names)) != len(names):
        raise ValueError(f'classes must be distinct and not empty, not {names}')
    if palette is not None:
        if not isinstance(palette, (list, tuple)):
            raise ValueError(f'the palette must be a list of colours, not {palette!r}')
        if len(palette) != len(names):
            raise ValueError(f'{len(palette)} colours in the palette for {len(names)} classes')
        if wrong := [colour for colour in palette if not _is_colour(colour)]:
            raise ValueError(f'colours of a palette must be three whole numbers in 0..255, not {wrong[:3]}')
        colours = tuple((int(r), int(g), int(b)) for r, g, b in palette)
    return names, colours


def _is_colour(value: Any) -> bool:
    numbers = isinstance(value, (list, tuple)) and len(value) == 3
    return numbers and all(isinstance(c, int) and not isinstance(c, bool) and 0 <= c <= 255 for c in value)
