"""Print the config that a run would use: base files, overrides and tasks resolved."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmmtl.cli import add_config_arguments, config_of, readable_errors
from mmmtl.config import resolve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('--save-path', metavar='FILE.py', help='also write it there, as a config file')
    args = parser.parse_args()
    if args.save_path and Path(args.save_path).suffix not in ('.py', '.json', '.yml', '.yaml'):
        raise SystemExit(f'--save-path {args.save_path}: must end in .py, .json, .yml or .yaml')
    cfg = resolve(config_of(args))
    print(cfg.pretty_text)
    if args.save_path:
        Path(args.save_path).parent.mkdir(parents=True, exist_ok=True)
        cfg.dump(args.save_path)


if __name__ == '__main__':
    with readable_errors():
        main()
