"""Print the config that a run would use: base files, overrides and tasks resolved."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmmtl.cli.arguments import add_config_arguments, check_cli_outputs, config_of
from mmmtl.cli.errors import readable_errors
from mmmtl.config import resolve
from mmmtl.io import whole_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('--save-path', metavar='FILE.py', help='also write it there, as a config file')
    args = parser.parse_args()
    if args.save_path and Path(args.save_path).suffix not in ('.py', '.json', '.yml', '.yaml'):
        raise SystemExit(f'--save-path {args.save_path}: must end in .py, .json, .yml or .yaml')
    cfg = config_of(args)
    check_cli_outputs(cfg, [args.save_path])
    cfg = resolve(cfg)
    print(cfg.pretty_text)
    if args.save_path:
        with whole_file(args.save_path) as partial:
            cfg.dump(partial)


if __name__ == '__main__':
    with readable_errors():
        main()
