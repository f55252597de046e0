"""Export a model to ONNX graphs and a runner for them: the command `mmmtl export`."""

from __future__ import annotations

from mmmtl.cli.errors import readable_errors
from mmmtl.commands.export import main

if __name__ == '__main__':
    with readable_errors():
        main()
