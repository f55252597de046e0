"""SCA-MTL's decoder and its parts."""

from .csam import CSAM
from .ctam import CTAM
from .fpma import FPMA
from .head import SCAHead

__all__ = ['CSAM', 'CTAM', 'FPMA', 'SCAHead']
