"""The parts of SCA-MTL's decoder."""

from .csam import CSAM
from .ctam import CTAM
from .fpma import FPMA
from .task_head import TaskHead

__all__ = ['CSAM', 'CTAM', 'FPMA', 'TaskHead']
