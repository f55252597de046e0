"""Parsers of the values of options: numbers, lists of words, devices."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import torch


def positive(text: str) -> int:
    """Parse a whole number of 1 or more."""
    return _whole(text, 1)


def not_negative(text: str) -> int:
    """Parse a whole number of 0 or more."""
    return _whole(text, 0)


def positive_number(text: str) -> float:
    """Parse a finite number above 0."""
    try:
        if 0 < (number := float(text)) < math.inf:
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f'must be a number above 0, not {text!r}')


def _whole(text: str, least: int) -> int:
    try:
        if (number := int(text)) >= least:
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f'must be a whole number of {least} or more, not {text!r}')


def choices(*known: str) -> Callable[[str], list[str]]:
    """Return a parser of one or more of some words, separated by commas."""

    def parse(text: str) -> list[str]:
        words = text.split(',')
        if not set(words) <= set(known):
            raise argparse.ArgumentTypeError(
                f'must be one or more of {", ".join(known)}, separated by commas, not {text!r}'
            )
        return words

    return parse


def device(text: str) -> str:
    """Parse the name of a PyTorch device; refuse one that does not exist here, and 'meta', which holds no values."""
    try:
        torch.device(text)
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"must be 'cpu', 'cuda' or another PyTorch device, not {text!r}") from None
    try:
        exists = torch.empty(0, device=text).device.type != 'meta'
    except (RuntimeError, AssertionError, ImportError):  # what PyTorch raises depends on the device
        exists = False
    if not exists:
        raise argparse.ArgumentTypeError(f'{text}: this machine has no such device')
    return text
