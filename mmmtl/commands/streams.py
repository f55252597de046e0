"""Arguments of programs that run a `StreamRunner`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mmmtl.apis.streaming import MjpegPage, StreamSink
from mmmtl.cli.values import not_negative, positive

LOCALHOST = '127.0.0.1'


def add_stream_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of a `StreamRunner`."""
    parser.add_argument('--max-frames', type=positive, metavar='N', help='stop after N frames of each video')
    parser.add_argument(
        '--every-frame',
        action='store_true',
        help='keep every frame of a camera or live stream, even if the model falls behind',
    )
    parser.add_argument(
        '--reconnect',
        type=not_negative,
        default=5,
        metavar='N',
        help='try at most N times in a row to reopen a live stream that is lost (default: 5)',
    )
    parser.add_argument(
        '--on-resize',
        choices=('error', 'new_state'),
        default='error',
        help='if the frame size changes: end the video with an error, or begin a new state (default: error)',
    )
    parser.add_argument(
        '--serve', type=not_negative, metavar='PORT', help='show the drawings in the browser while they are made'
    )
    parser.add_argument(
        '--host',
        default=LOCALHOST,
        help='address of the page of --serve (default: %(default)s, this machine alone; 0.0.0.0 shows it to everybody)',
    )
    parser.add_argument(
        '--resume',
        type=Path,
        metavar='FILE.safetensors',
        help='save the states to FILE when ctrl-C or SIGTERM stops the run; repeat the command to continue the run',
    )


def check_stream_arguments(args: argparse.Namespace, weights: str | Path | None) -> None:
    """Refuse `--host` without `--serve`, and `--resume` for a model without trained weights.

    Each run of such a model draws other weights, and refuses the states of an earlier one.
    """
    if args.serve is None and args.host != LOCALHOST:
        raise ValueError(f'--host {args.host}: only --serve opens a page; add --serve PORT, or leave out --host')
    if args.resume is not None and weights is None:
        raise ValueError(
            f'--resume {args.resume}: the model has no trained weights, and each run draws new random ones, so a '
            'stopped run cannot be continued; give a weights file, or leave out --resume'
        )


def stream_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return keywords of `StreamRunner` from the arguments of `add_stream_arguments`."""
    return dict(
        latest=False if args.every_frame else None,
        on_resize=args.on_resize,
        reconnect=args.reconnect,
        max_frames=args.max_frames,
        resume=args.resume,
    )


def page_of(args: argparse.Namespace) -> list[StreamSink]:
    """Return the page of `--serve`, if it is wanted."""
    return [] if args.serve is None else [MjpegPage(args.serve, host=args.host)]
