"""PASCAL-Context with human parts, saliency, normals and edges."""

from .pascal_context import PASCALContext

__all__ = ['PASCALContext']
