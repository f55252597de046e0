"""Running streams: `StreamRunner`, its sinks, and what they get."""

from .frames import StreamFrame, StreamInfo
from .mjpeg_page import MjpegPage
from .records import StageTimes, StreamRecord, speed_report
from .rerun_sink import RerunSink
from .runner import StreamRunner
from .sinks import PanelSink, RawSink, StreamSink, VideoSink

__all__ = [
    'MjpegPage',
    'PanelSink',
    'RawSink',
    'RerunSink',
    'StageTimes',
    'StreamFrame',
    'StreamInfo',
    'StreamRecord',
    'StreamRunner',
    'StreamSink',
    'VideoSink',
    'speed_report',
]
