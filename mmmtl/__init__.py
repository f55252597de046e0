"""mmmtl: multi-task dense prediction from images and video."""

from mmmtl import _quiet_imports, _safe_loading
from mmmtl._environment import TorchvisionFinder, check_environment
from mmmtl.version import __version__

__all__ = ['__version__']

check_environment()
TorchvisionFinder.install()
_safe_loading.install()
_quiet_imports.install()
