"""PAD-Net's decoder."""

from .head import PADNetHead

__all__ = ['PADNetHead']
