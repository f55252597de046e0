"""Input and output: images, labels, arrays, text and video files."""

from .arrays import read_mat, read_npy, write_npy
from .child import ChildReader
from .files import is_foreign, read_json, read_text
from .headers import MAX_PIXELS
from .images import IMAGE_SUFFIXES, read_image, resize_image, write_jpeg, write_png
from .labels import read_raw
from .map_writer import MapWriter
from .outputs import check_new_folder, check_outputs, distinct_names, whole_file, write_text
from .safetensors import write_safetensors
from .source_names import source_name
from .video import VideoReader, VideoWriter, read_frames

__all__ = [
    'IMAGE_SUFFIXES',
    'MAX_PIXELS',
    'ChildReader',
    'MapWriter',
    'VideoReader',
    'VideoWriter',
    'check_new_folder',
    'check_outputs',
    'distinct_names',
    'is_foreign',
    'read_frames',
    'read_image',
    'read_json',
    'read_mat',
    'read_npy',
    'read_raw',
    'read_text',
    'resize_image',
    'source_name',
    'whole_file',
    'write_jpeg',
    'write_npy',
    'write_png',
    'write_safetensors',
    'write_text',
]
