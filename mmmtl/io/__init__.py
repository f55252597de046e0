"""Input and output: images, arrays and video files."""

from .arrays import read_mat, read_npy
from .images import IMAGE_SUFFIXES, read_image, read_raw, resize_image, write_png
from .outputs import check_outputs, distinct_names, whole_file, write_text
from .video import VideoReader, VideoWriter, read_frames

__all__ = [
    'IMAGE_SUFFIXES',
    'VideoReader',
    'VideoWriter',
    'check_outputs',
    'distinct_names',
    'read_frames',
    'read_image',
    'read_mat',
    'read_npy',
    'read_raw',
    'resize_image',
    'whole_file',
    'write_png',
    'write_text',
]
