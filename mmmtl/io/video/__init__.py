"""Videos: a reader of files, folders, cameras and streams, and a writer, both with time stamps."""

from .backend import DEFAULT_FPS, VideoFrame
from .reader import Video, VideoReader, read_frames
from .writer import VideoWriter

__all__ = ['DEFAULT_FPS', 'Video', 'VideoFrame', 'VideoReader', 'VideoWriter', 'read_frames']
