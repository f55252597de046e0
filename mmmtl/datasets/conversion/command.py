"""The command line of a converter whose data set comes as several archives, unpacked over each other."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from .archives import joined_folder
from .manifest import check_counts, write_manifest


def convert(
    description: str,
    *,
    dataset: str,
    content: str,
    count: Callable[[Path], tuple[dict[str, int], dict[str, int]]],
    arrange: Callable[[Path, Path], None] | None = None,
) -> None:
    """Unpack the archives of the command line, or check its folder; count the files and write the manifest.

    Args:
        description: description of the script, for `--help`.
        dataset: its name in the manifest.
        content: contents of the right archives, for a message about wrong ones.
        count: returns how many files of each kind a folder has, and how many are expected.
        arrange: see `joined_folder`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('sources', type=Path, nargs='+', metavar='source', help='the archives, or one folder')
    parser.add_argument('--out', type=Path, help='the new data set; not for a folder')
    parser.add_argument('--allow-partial', action='store_true', help='accept missing files')
    args = parser.parse_args()
    target = args.out or args.sources[0]
    with joined_folder(args.sources, args.out, arrange=arrange) as root:
        counts, expected = count(root)
        if not any(counts.values()):
            raise ValueError(f'{args.sources[0]}: contains no {content}; give the official archives, or their folder')
        if not args.allow_partial:
            check_counts(counts, expected, where=target)
        write_manifest(root, dataset=dataset, counts=counts, sources=args.sources)
    print(f'{target}: complete, see manifest.json')
