"""A seeded synthetic video world, ray-cast on demand: exact labels, depth, normals and poses without files."""

from .flow import scene_flow
from .layout import make_scene
from .render import RenderedFrame, render
from .scene import Scene
from .video import SyntheticVideo

__all__ = ['RenderedFrame', 'Scene', 'SyntheticVideo', 'make_scene', 'render', 'scene_flow']
