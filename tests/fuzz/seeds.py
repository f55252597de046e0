"""Whole files, to be damaged."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from functools import cache

import cv2
import numpy as np
import torch
from PIL import Image
from scipy.io import savemat

from .encodings import save
from .png import PALETTE, chunk, encode_png

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 12, (24, 32), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
DEPTH = RNG.integers(0, 9000, (24, 32), dtype=np.uint16)


@cache
def images() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        'photo.jpg': save(COLOURS, 'JPEG', exif=exif),
        'progressive.jpg': save(COLOURS, 'JPEG', progressive=True),
        'photo.png': save(COLOURS, 'PNG', exif=exif),
        'photo.webp': save(COLOURS, 'WEBP'),
        'photo.bmp': save(COLOURS, 'BMP'),
        'photo.gif': save(COLOURS, 'GIF'),
        'photo.tif': save(COLOURS, 'TIFF', compression='tiff_lzw'),
        'photo.ppm': save(COLOURS, 'PPM'),
    }


def palette_png(level: int = 6) -> bytes:
    colours = RNG.integers(0, 256, (12, 3), dtype=np.uint8)
    return encode_png(LABELS, colour=PALETTE, bits=4, extra=chunk(b'PLTE', colours.tobytes()), level=level)


@cache
def labels() -> dict[str, tuple[bytes, np.ndarray]]:
    return {
        'grey.png': (save(LABELS, 'PNG'), LABELS),
        'palette.png': (palette_png(), LABELS),
        'depth.png': (cv2.imencode('.png', DEPTH)[1].tobytes(), DEPTH),
        'normals.png': (save(COLOURS, 'PNG'), COLOURS),
    }


@cache
def unchecked_labels() -> dict[str, bytes]:
    """Labels in formats that have no checksum."""
    return {
        'grey.bmp': save(LABELS, 'BMP'),
        'grey.tif': save(LABELS, 'TIFF', compression='tiff_adobe_deflate'),
        'float.tif': save(DEPTH.astype(np.float32), 'TIFF'),
        'grey.pgm': save(LABELS, 'PPM'),
        'comments.pgm': b'P5 # grey\n# 32x24\n32 24\n# # # # # # # # # # # # #\n255\n' + LABELS.tobytes(),
    }


@cache
def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, DEPTH)
    return file.getvalue()


@cache
def mat(*, packed: bool) -> bytes:
    file = io.BytesIO()
    parts = np.empty((1, 2), dtype=[('name', object), ('mask', object)])
    for i in range(2):
        parts[0, i] = (f'part{i}', LABELS)
    savemat(file, {'LabelMap': DEPTH, 'anno': parts}, do_compression=packed)
    return file.getvalue()


@cache
def hdf5() -> bytes:
    import h5py

    file = io.BytesIO()
    with h5py.File(file, 'w') as opened:
        opened.create_dataset('images', data=RNG.integers(0, 256, (3, 3, 12, 8), dtype=np.uint8), compression='gzip')
        opened['depths'] = RNG.random((3, 12, 8), dtype=np.float32)
        names = [opened.create_dataset(f'#refs#/{i}', data=np.frombuffer(b'r\0-\0', np.uint16)) for i in range(3)]
        references = opened.create_dataset('rawRgbFilenames', (1, 3), dtype=h5py.ref_dtype)
        references[0] = [name.ref for name in names]
    return file.getvalue()


@cache
def checkpoint() -> tuple[bytes, bytes]:
    """Return a checkpoint, and the pickle in it."""
    file = io.BytesIO()
    weights = {'weight': torch.arange(600.0), 'bias': torch.nn.Parameter(torch.ones(3, dtype=torch.float64))}
    torch.save({'state_dict': weights, 'meta': {'iter': 3, 'task_order': ['depth']}}, file)
    with zipfile.ZipFile(file) as archive:
        return file.getvalue(), archive.read('archive/data.pkl')


def checkpoint_of(pickled: bytes) -> bytes:
    """Return the checkpoint with another pickle, and right checksums."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(checkpoint()[0])) as old, zipfile.ZipFile(file, 'w') as new:
        for record in old.infolist():
            new.writestr(record.filename, pickled if record.filename.endswith('data.pkl') else old.read(record))
    return file.getvalue()


@cache
def videos() -> bytes:
    listed = {'one': {'split': 'train', 'length': 2}, 'süd/zwei': {'split': 'val'}, 'three': {}}
    return json.dumps(listed, ensure_ascii=False).encode()


@cache
def archives() -> dict[str, bytes]:
    members = {'a/one.png': save(LABELS, 'PNG'), 'a/zwei.txt': b'text\n' * 40, 'b.bin': bytes(600)}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, 'w', zipfile.ZIP_DEFLATED) as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    found = {'d.zip': packed.getvalue()}
    for suffix, mode in (('.tar', 'w'), ('.tar.gz', 'w:gz'), ('.tar.bz2', 'w:bz2'), ('.tar.xz', 'w:xz')):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode) as tar:
            for name, data in {**members, 'long/' * 30 + 'name': b'x'}.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        found[f'd{suffix}'] = stream.getvalue()
    return found
