"""Building blocks that necks and heads share."""

from .containers import ModuleMap, ModuleRow
from .conv_module import PlainConvModule
from .cross_attention import CrossAttention
from .linear_attention import linear_attention
from .residual_blocks import BasicBlock, Bottleneck
from .resize import resize
from .squeeze_excitation import SqueezeExcitation
from .swin_stage import SwinBlock, SwinStage
from .window_attention import Padding, WindowAttention, window_attention, window_mask

__all__ = [
    'BasicBlock',
    'Bottleneck',
    'CrossAttention',
    'ModuleMap',
    'ModuleRow',
    'Padding',
    'PlainConvModule',
    'SqueezeExcitation',
    'SwinBlock',
    'SwinStage',
    'WindowAttention',
    'linear_attention',
    'resize',
    'window_attention',
    'window_mask',
]
