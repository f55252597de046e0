"""Show models in the browser: a video, a picture or a camera goes in, and the maps are drawn while they are predicted.

The page lists the models that have weights. It can be opened on this computer alone, unless --host says otherwise.
It needs gradio: pip install "mmmtl[browser]".
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmmtl.apis import list_models
from mmmtl.cli.arguments import add_device_arguments, device_options
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import positive

from .browser.models import Models
from .browser.page import serve
from .streams import LOCALHOST


def parse_args(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', metavar='NAME|CONFIG', help='a model of your own, which is shown first')
    parser.add_argument('--weights', type=Path, metavar='FILE', help='its weights')
    add_device_arguments(parser)
    parser.add_argument('--host', default=LOCALHOST, help=f'address to listen on (default: {LOCALHOST})')
    parser.add_argument('--port', type=positive, help='default: the first free one from 7860 on')
    parser.add_argument('--open', action='store_true', help='open the page in the browser')
    args = parser.parse_args(arguments)
    if (args.model is None) != (args.weights is None) and args.model not in list_models(weights=True):
        parser.error('--model and --weights need each other, unless the model comes with weights')
    return args


@readable_errors()
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Serve the page until ctrl-C."""
    args = parse_args(arguments, prog)
    weights: dict[str, Path | None] = dict.fromkeys(list_models(weights=True))
    if args.model is not None:
        weights = {args.model: args.weights, **{name: None for name in weights if name != args.model}}
    if not weights:
        raise ValueError('no model comes with weights; give --model and --weights')
    models = Models(weights, **device_options(args))
    serve(models, host=args.host, port=args.port, open_browser=args.open)
