"""A seeded synthetic video world, ray-cast on demand: exact labels, depth, normals and poses without files."""

from .flow import scene_flow
from .layout import make_scene
from .render import Frame, render
from .scene import CLASSES, PALETTE, Scene
from .video import SyntheticVideo

__all__ = ['CLASSES', 'PALETTE', 'Frame', 'Scene', 'SyntheticVideo', 'make_scene', 'render', 'scene_flow']
