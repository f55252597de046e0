"""Input and output: images, arrays and video files."""

from .arrays import read_mat, read_npy
from .images import IMAGE_SUFFIXES, read_image, read_raw, resize_image, write_png
from .video import VideoWriter, read_frames

__all__ = [
    'IMAGE_SUFFIXES',
    'VideoWriter',
    'read_frames',
    'read_image',
    'read_mat',
    'read_npy',
    'read_raw',
    'resize_image',
    'write_png',
]
