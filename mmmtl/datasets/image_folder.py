"""Folders of images with any names: the layout for your own stills."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

from mmmtl.io.files import is_foreign
from mmmtl.io.images import IMAGE_SUFFIXES
from mmmtl.registry import DATASETS

from .folders import FolderDataset
from .frames import Frame
from .readers import MAP_SUFFIXES, list_stems, listed_files, read_names


@DATASETS.register_module()
class ImageFolder(FolderDataset):
    """Images beside one folder of labels for each task, with labels for all or some of them.

    ```
    images/{name}.jpg           or another image file; names may have folders: images/berlin/0001.jpg
    {source}/{name}.png         one folder per task (its `source`, by default its name)
    {split}.txt                 optional: the names of a split, one per line
    ```

    A label belongs to the image of the same name. A label without an image is refused; hidden files are ignored.

    Args:
        data_root: the folder.
        split: use the images of `{split}.txt`, or of this part of `ratio`; None takes all.
        ratio: {split: share of the images}, in place of lists. The hash of its name decides where an image goes, so all
            parts together are the whole folder, in every run. New images may move a few others to another part.
        ending: {source: what the names of its files add to those of the images}, such as dict(depth='_depth').
    """

    split: str | None = None
    ratio: Mapping[str, float] | None = None
    ending: Mapping[str, str] | None = None
    images: str = 'images'

    def load_frames(self) -> Iterator[Frame]:
        self.check_units()
        images = list_tree(self.root / self.images, IMAGE_SUFFIXES)
        if not images:
            raise FileNotFoundError(f'{self.root / self.images}: no images ({", ".join(IMAGE_SUFFIXES)}) there')
        maps = {source: self._labels(source, images) for source in sorted(self.sources)}
        for name, path in self._part(images).items():
            yield Frame(name, 0, path, {source: files[name] for source, files in maps.items() if name in files})

    def _labels(self, source: str, images: Mapping[str, Path]) -> dict[str, Path]:
        """Return {name of an image: file} of a source; refuse labels without an image."""
        ending = (self.ending or {}).get(source, '')
        files = list_tree(self.root / source, MAP_SUFFIXES)
        strange = [
            path for name, path in files.items() if not name.endswith(ending) or name.removesuffix(ending) not in images
        ]
        if strange:
            raise FileNotFoundError(
                f'{strange[0]}: no image of this name in {self.root / self.images} ({len(strange)} such labels); give '
                f'labels the names of their images, or set ending=dict({source}=...) to what they add'
            )
        return {name.removesuffix(ending): path for name, path in files.items()}

    def _part(self, images: dict[str, Path]) -> dict[str, Path]:
        """Return the images of the split."""
        if self.split is None:
            return images
        path = self.root / f'{self.split}.txt'
        if self.ratio is None:
            return listed_files(read_names(path), images, path)
        if path.exists():
            raise ValueError(f'{path}: a list of the split, but `ratio` is set, too; remove one of them')
        shares = {name: self.ratio[name] for name in sorted(self.ratio)}  # a dumped config has sorted keys
        if self.split not in shares or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(f'ratio must give positive shares that add up to 1, one to {self.split!r}, not {shares}')
        names = sorted(images, key=lambda name: hashlib.sha256(name.encode(errors='surrogateescape')).digest())
        before = [name for name in shares if name < self.split]
        first, last = (
            round(len(names) * sum(shares[name] for name in some)) for some in (before, [*before, self.split])
        )
        if first == last:
            raise ValueError(
                f'{self.root}: a share of {shares[self.split]} selects none of the {len(names)} images; raise `ratio`'
            )
        return {name: images[name] for name in sorted(names[first:last])}


def list_tree(root: Path, suffixes: Container[str]) -> dict[str, Path]:
    """Return {path below `root` without suffix: file} of a folder and those inside; raise what `list_stems` raises."""
    return {
        (folder.relative_to(root) / stem).as_posix(): file
        for folder in folders_below(root)
        for stem, file in list_stems(folder, suffixes).items()
    }


def folders_below(root: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield a folder and those inside, links to others included; `above` are the real folders on the way to it."""
    here = (*above, root.resolve())
    yield root
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if not path.is_dir() or is_foreign(path):
            continue
        place = path.resolve()
        # What lies in the first folder has a name of its own there, and a way back would never end.
        if place not in here and not (path.is_symlink() and place.is_relative_to(here[0])):
            yield from folders_below(path, here)
