"""Running streams: `StreamRunner`, its sinks, and what they get."""

from .frames import StreamFrame, StreamInfo
from .records import StageTimes, StreamRecord, speed_report
from .runner import StreamRunner
from .sinks import PanelSink, RawSink, StreamSink, VideoSink

__all__ = [
    'PanelSink',
    'RawSink',
    'StageTimes',
    'StreamFrame',
    'StreamInfo',
    'StreamRecord',
    'StreamRunner',
    'StreamSink',
    'VideoSink',
    'speed_report',
]
