"""Files that promise too much are refused by their headers, and crashes stay in the child."""

from __future__ import annotations

import io
import os
import resource
import signal
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmmtl.datasets.conversion import archives
from mmmtl.io import ChildReader, read_image, read_json, read_mat, read_npy, read_raw, read_text
from mmmtl.io.child import _limit_memory


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """No reader may take more than 128 MB before it refuses these files."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 17


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def jpeg(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new('RGB', (8, 8)).save(file, 'JPEG')
    data = file.getvalue()
    at = data.index(b'\xff\xc0')
    return data[: at + 5] + struct.pack('>HH', height, width) + data[at + 9 :]


def png(width: int, height: int, colour: int) -> bytes:
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, colour, 0, 0, 0))
    palette = chunk(b'PLTE', bytes(6)) if colour == 3 else b''
    return b'\x89PNG\r\n\x1a\n' + header + palette + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b'')


def tiff_of_large_tiles() -> bytes:
    tags = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 277: 1, 322: 1 << 20, 323: 1 << 20, 324: 8, 325: 1}
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags.items())
    return b'II*\0' + struct.pack('<IH', 8, len(tags)) + entries + bytes(4)


def tiff_of_missing_rows() -> bytes:
    tags = {256: 8, 257: 5000, 258: 8, 259: 1, 262: 1, 273: 134, 277: 1, 278: 8, 279: 64}
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags.items())
    return b'II*\0' + struct.pack('<IH', 8, len(tags)) + entries + bytes(100)


@pytest.mark.parametrize('read', [read_image, read_raw])
@pytest.mark.parametrize(
    ('name', 'data'),
    [
        ('part.png', png(9, 9, 2)[:33] + struct.pack('>I', 1 << 30) + b'IDAT' + bytes(99)),
        ('rows.tif', tiff_of_missing_rows()),
        ('bomb.jpg', jpeg(30000, 30000)),
        ('bomb.png', png(60000, 60000, 2)),
        ('palette.png', png(12000, 12000, 3)),
        ('wide.png', png(2**31 - 1, 1, 0)),
        ('tiles.tif', tiff_of_large_tiles()),
        ('scans.jpg', jpeg(8, 8) + b'\xff\xda\0\0' * 101),
    ],
)
def test_image_bombs(tmp_path: Path, read, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ValueError, match=name):
        read(path)


def test_the_limit_is_an_argument(tmp_path: Path) -> None:
    path = tmp_path / 'a.png'
    Image.new('RGB', (20, 30)).save(path)
    assert read_image(path, max_pixels=600).shape == (30, 20, 3)
    for read in (read_image, read_raw):
        with pytest.raises(ValueError, match=r'a\.png: 20 x 30 pixels .* limit of 599; .*max_pixels'):
            read(path, max_pixels=599)


@pytest.mark.parametrize('read', [read_image, read_raw, read_npy, read_text, read_json])
def test_what_is_no_file(tmp_path: Path, read) -> None:
    (tmp_path / 'folder.png').mkdir()
    os.mkfifo(tmp_path / 'pipe.png')
    (tmp_path / 'device.png').symlink_to('/dev/zero')
    for name in ('folder', 'pipe', 'device'):
        with pytest.raises(ValueError, match=rf'{name}\.png: (a folder|no regular file)'):
            read(tmp_path / f'{name}.png')
    with pytest.raises(FileNotFoundError, match=r'absent\.png'):
        read(tmp_path / 'absent.png')


def npy(shape: str, descr: str = "'<f8'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header + bytes(64)


@pytest.mark.parametrize(
    'data',
    [
        npy('(700000, 700000)'),
        npy('(8,)', "'|O'"),
        npy('(-8,)'),
        npy('(0, 5)'),
        npy('(7,)'),  # and 8 bytes too many
        npy('(4,)', "'<c16'"),
        npy('(' * 5000),
        b'\x93NUMPY\x07\x00',
    ],
)
def test_npy(tmp_path: Path, data: bytes) -> None:
    (tmp_path / 'a.npy').write_bytes(data)
    with pytest.raises(ValueError, match=r'a\.npy: '):
        read_npy(tmp_path / 'a.npy')


@pytest.mark.parametrize('highest', [b'0000000255', b'255#' + b' ' * 70_000])
@pytest.mark.parametrize('marks', [40, 30_000])
def test_the_header_of_a_pgm_takes_no_time(tmp_path: Path, marks: int, highest: bytes) -> None:
    (tmp_path / 'a.pgm').write_bytes(b'P5\n' + b'# ' * marks + b'\n4 4\n' + highest + b'\n' + bytes(16))
    start = time.perf_counter()
    with suppress(ValueError):
        read_image(tmp_path / 'a.pgm')
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ('header', 'found'), [(b'P5 4 4 15\n', '15'), (b'P4 4 4\n', '1'), (b'P5\n#a\n4 4 # 255\n100\n', '100')]
)
def test_other_grey_levels_are_named(tmp_path: Path, header: bytes, found: str) -> None:
    (tmp_path / 'a.pgm').write_bytes(header + bytes(16))
    with pytest.raises(ValueError, match=rf'a\.pgm: .* is {found},'):
        read_image(tmp_path / 'a.pgm')


def test_an_npz_archive_is_told_apart(tmp_path: Path) -> None:
    np.savez(tmp_path / 'a.npz', a=np.ones(3))
    (tmp_path / 'a.npz').rename(tmp_path / 'a.npy')
    with pytest.raises(ValueError, match=r'a\.npy: an \.npz archive'):
        read_npy(tmp_path / 'a.npy')


@pytest.mark.parametrize('order', ['C', 'F'])
@pytest.mark.parametrize('kind', ['<f4', '>f8', '|u1', '<i8', '|b1'])
def test_npy_arrays_arrive(tmp_path: Path, order: str, kind: str) -> None:
    array = np.asarray(np.random.default_rng(0).integers(0, 2, (3, 5)), dtype=kind, order=order)
    np.save(tmp_path / 'a.npy', array)
    found = read_npy(tmp_path / 'a.npy')
    assert np.array_equal(found, array) and found.dtype == array.dtype.newbyteorder('=') and found.flags.writeable


def test_json(tmp_path: Path) -> None:
    path = tmp_path / 'a.json'
    for data, message in (
        (b'[' * 100_000, 'nested too deeply'),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' occurs twice"),
        (b'[' + b'9' * 5000 + b']', 'not valid JSON'),
        (b'{"a": "\xff"}', 'neither UTF-8 nor UTF-16'),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf'a\.json: .*{message}'):
            read_json(path)
    for encoding in ('utf-8', 'utf-8-sig', 'utf-16'):
        path.write_bytes('{"süd": [1]}'.encode(encoding))
        assert read_json(path) == {'süd': [1]}
    with pytest.raises(ValueError, match='limit of 10'):
        read_json(path, max_bytes=10)


@pytest.mark.parametrize('key', ['x', 'small'])
def test_compressed_mat(tmp_path: Path, key: str) -> None:
    savemat(tmp_path / 'a.mat', {'x': np.zeros((1500, 1500)), 'small': np.zeros(1)}, do_compression=True)
    with pytest.raises(ValueError, match=r'a\.mat: more than the limit of 10000000 bytes when unpacked'):
        read_mat(tmp_path / 'a.mat', key, max_bytes=10_000_000)


def test_zip_bombs_and_encryption(tmp_path: Path) -> None:
    path = tmp_path / 'a.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as opened:
        opened.writestr('a', bytes(1 << 20))
    data = bytearray(path.read_bytes())
    directory = data.index(b'PK\x01\x02')
    promised = bytearray(data)
    promised[directory + 24 : directory + 28] = struct.pack('<I', 0xFFFFFFF0)
    path.write_bytes(promised)
    with pytest.raises(ValueError, match=r'a\.zip: unpacks to 1 members of 4294967280 bytes'):
        archives.extract(path, tmp_path / 'out')
    data[directory + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.zip: member 'a' is encrypted"):
        archives.extract(path, tmp_path / 'out')


def test_an_archive_of_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, 'MAX_MEMBERS', 2)
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as opened:
        for name in 'abc':
            opened.writestr(name, b'')
    with pytest.raises(ValueError, match=r'a\.zip: unpacks to 3 members'):
        archives.extract(tmp_path / 'a.zip', tmp_path / 'out')


def test_tar_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tarfile

    monkeypatch.setattr(archives, 'SLACK', 1 << 16)
    with tarfile.open(tmp_path / 'a.tar.gz', 'w:gz') as opened:
        info = tarfile.TarInfo('zeros')
        info.size = 1 << 20
        opened.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(ValueError, match=r'a\.tar\.gz: unpacks to'):
        archives.extract(tmp_path / 'a.tar.gz', tmp_path / 'out')
    monkeypatch.setattr(archives, 'MAX_GROWTH', 2000)
    archives.extract(tmp_path / 'a.tar.gz', tmp_path / 'out')
    assert (tmp_path / 'out/zeros').stat().st_size == 1 << 20
    # tarfile would read a name of this length in one piece.
    name = tarfile.TarInfo('././@LongLink')
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 1 << 32
    (tmp_path / 'b.tar').write_bytes(name.tobuf() + bytes(1024))
    with pytest.raises(ValueError, match=r'b\.tar: damaged archive .*4294967296'):
        archives.extract(tmp_path / 'b.tar', tmp_path / 'out')


def crash(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(path: Path) -> None:
    time.sleep(60)


def swell(path: Path) -> int:
    return len(bytearray(1 << 31))


def test_a_lower_limit_of_the_system_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now, limits = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize(), []
    monkeypatch.setattr('resource.setrlimit', lambda kind, pair: limits.append((kind, *pair)))
    for hard in (now, resource.RLIM_INFINITY, now + (9 << 30)):
        monkeypatch.setattr('resource.getrlimit', lambda kind, hard=hard: (hard, hard))
        _limit_memory(1 << 30)
    assert [kind for kind, *_ in limits] == 2 * [resource.RLIMIT_AS]
    assert [hard for *_, hard in limits] == [resource.RLIM_INFINITY, now + (9 << 30)]
    assert all(now < soft < now + (2 << 30) for _, soft, _ in limits)
    monkeypatch.setattr('mmmtl.io.child.Path', lambda name: tmp_path / 'no proc')
    _limit_memory(1 << 30)
    assert len(limits) == 2


def test_a_child_may_crash(tmp_path: Path) -> None:
    path = tmp_path / 'a.mat'
    with ChildReader(timeout=1) as child:
        for reader, message in ((crash, 'its reader crashed'), (sleep, 'not read within 1 s')):
            with pytest.raises(ValueError, match=rf'a\.mat: {message}'):
                child(reader, path)
        path.write_bytes(b'MATLAB 5.0 MAT-file, cut')
        with pytest.raises(ValueError, match=r'a\.mat: not a readable MATLAB file'):
            child(read_mat, path, 'x')
        savemat(path, {'x': np.arange(6)})
        assert child(read_mat, path, 'x').tolist() == [[0, 1, 2, 3, 4, 5]]
    with ChildReader(max_memory=1 << 30) as child, pytest.raises(ValueError, match=r'a\.mat: .*memory'):
        child(swell, path)
