"""Reports: a work folder, or several side by side, as one HTML file that needs no network."""

from .page import write_report
from .run import Run, read_run
from .samples import SampleFolder

__all__ = ['Run', 'SampleFolder', 'read_run', 'write_report']
