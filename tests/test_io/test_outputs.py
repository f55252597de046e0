"""Outputs are never inputs, never one another, and whole or not there."""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from mmmtl.io import check_new_folder, check_outputs, distinct_names, whole_file, write_png, write_text
from mmmtl.io.image_sources import find_images
from mmmtl.io.outputs import remove_partial_files

ROOT = Path(__file__).parents[2]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / 'photos' / 'a.png'
    path.parent.mkdir()
    path.write_bytes(b'mine')
    return path


def aliases(path: Path) -> dict[str, Path]:
    """Other names of a file, and one that only differs in case where the file system ignores it."""
    folder = path.parent.parent
    (folder / 'link.png').symlink_to(path)
    os.link(path, folder / 'hard.png')
    (folder / 'linked').symlink_to(path.parent, target_is_directory=True)
    relative = Path(os.path.relpath(path))
    around = path.parent / '..' / path.parent.name / path.name
    return dict(itself=path, link=folder / 'link.png', hard=folder / 'hard.png', folder=folder / 'linked' / 'a.png',
                relative=relative, around=around)  # fmt: skip


@pytest.mark.parametrize('kind', ['itself', 'link', 'hard', 'folder', 'relative', 'around'])
def test_an_output_that_is_an_input_is_refused(photo: Path, kind: str) -> None:
    output = aliases(photo)[kind]

    with pytest.raises(ValueError, match=r'a\.png'):
        check_outputs([output], [photo])
    with pytest.raises(ValueError, match=r'a\.png'):
        check_outputs([None, photo], [None, str(output)])


def test_folders_are_compared_too(photo: Path) -> None:
    aliases(photo)

    with pytest.raises(ValueError, match='linked'):
        check_outputs([photo.parent.parent / 'linked'], [photo.parent])
    check_outputs([photo.parent / 'out'], [photo.parent])


def test_what_is_not_there_yet_is_compared_by_its_path(tmp_path: Path) -> None:
    (tmp_path / 'linked').symlink_to(tmp_path / 'real', target_is_directory=True)

    with pytest.raises(ValueError, match=r'new\.mp4'):
        check_outputs([tmp_path / 'linked' / 'new.mp4'], [tmp_path / 'real' / 'new.mp4'])
    check_outputs([tmp_path / 'real' / 'new.mp4'], [tmp_path / 'real' / 'other.mp4'])


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'out\.json'):
        check_outputs([tmp_path / 'out.json', tmp_path / 'x' / '..' / 'out.json'])


def test_below_a_data_folder_only_new_names_are_allowed(photo: Path) -> None:
    root, full = photo.parent.parent, photo.parent
    (root / 'empty').mkdir()

    check_outputs([root / 'new.json', root / 'panels', root / 'empty'], folders=[root])
    for output in (photo, full):
        with pytest.raises(ValueError, match='data folder'):
            check_outputs([output], folders=[root])
        check_outputs([output], folders=[root / 'elsewhere'])


def test_what_cannot_be_written_is_refused_before_the_work(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r'a\.png is a file'):
        check_outputs([photo / 'below' / 'out.json'])
    monkeypatch.setattr('os.access', lambda path, mode: False)  # root may write everything
    for path in (photo, photo.parent / 'new' / 'out.json'):
        with pytest.raises(ValueError, match='write-protected'):
            check_outputs([path])


def test_a_file_in_a_protected_folder_cannot_be_replaced(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('os.access', lambda path, mode: Path(path) != photo.parent)
    with pytest.raises(ValueError, match=f'{photo.parent} is write-protected'):
        check_outputs([photo])


def test_a_folder_that_is_not_empty_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    check_new_folder(tmp_path)
    (tmp_path / '.export.abc').mkdir()
    with pytest.raises(ValueError, match=r'it holds \.export\.abc'):
        check_new_folder(tmp_path)
    assert check_new_folder(tmp_path / 'new') is None


def test_many_files_take_a_few_looks_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        (tmp_path / f'{number}.jpg').touch()
    looks: list[object] = []
    look = os.stat
    monkeypatch.setattr('os.stat', lambda path, **how: looks.append(path) or look(path, **how))

    found = find_images(tmp_path).images
    check_outputs([tmp_path / 'out' / path.name for path in found], found)
    assert len(found) == 300 and len(looks) < 15 * 300


def test_devices_are_no_inputs() -> None:
    check_outputs(['/dev/null'], ['/dev/null'])
    write_text('/dev/null', 'gone')
    assert Path('/dev/null').is_char_device()


@pytest.mark.parametrize(
    ('sources', 'names'),
    [
        (['a.jpg', 'b.png'], ['a', 'b']),
        (['a.jpg', 'a.png'], ['a.jpg', 'a.png']),
        (['x/a.jpg', 'y/a.jpg'], ['x_a.jpg', 'y_a.jpg']),
        (['a.jpg', 'A.png', 'b.png'], ['a.jpg', 'A.png', 'b']),
        (['a.jpg', 'a.png', 'a.jpg.png'], ['a.jpg', 'a.png', 'a.jpg.png']),
        (['p/x/a.jpg', 'q/x/a.jpg', 'q/x/a.jpg'], ['x_a.jpg_1', 'x_a.jpg_2', 'x_a.jpg_3']),
        (['a\\b.jpg', 'c.jpg'], ['a_b', 'c']),
        (['\u00e9.jpg', 'e\u0301.jpg'], ['\u00e9.jpg_1', 'e\u0301.jpg_2']),
    ],
)
def test_names_are_distinct(sources: list[str], names: list[str]) -> None:
    assert distinct_names(sources) == names
    assert len({name.casefold() for name in names}) == len(names)


def test_long_names_are_cut_and_stay_distinct(tmp_path: Path) -> None:
    names = distinct_names([f'{"ü" * 120}{number}.ts' for number in range(3)])
    assert len({*names}) == 3 and all(len(name.encode()) <= 200 for name in names)
    (tmp_path / f'{names[0]}-000120-2.mp4').touch()
    assert distinct_names(['a' * 200 + '.png']) == ['a' * 200]


def test_names_are_those_of_files_in_every_locale(tmp_path: Path) -> None:
    (tmp_path / 'ü.png').touch()
    code = 'import sys; from mmmtl.io import distinct_names; open(distinct_names(sys.argv[1:])[0] + ".txt", "w")'
    ascii_only = {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONPATH': str(ROOT)}
    subprocess.run([sys.executable, '-c', code, 'ü.png'], cwd=tmp_path, env=os.environ | ascii_only, check=True)
    assert (tmp_path / 'ü.txt').exists()


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / 'new' / 'a.txt'
    write_text(target, 'old')
    target.chmod(0o640)

    with whole_file(target) as partial:
        partial.write_text('new')
        assert partial.suffix == '.txt'
        assert target.read_text() == 'old'
    assert (target.read_text(), target.stat().st_mode & 0o777) == ('new', 0o640)
    assert list(target.parent.iterdir()) == [target]


def test_file_systems_without_modes_and_flushes_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / 'a.txt'
    target.write_text('old')
    flush = os.fsync

    def refuse_mode(path: Path, mode: int, **how: object) -> None:
        raise PermissionError(errno.EPERM, 'Operation not permitted', str(path))

    def refuse_folders(number: int) -> None:
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(refused, os.strerror(refused))
        flush(number)

    monkeypatch.setattr('os.chmod', refuse_mode)
    monkeypatch.setattr('os.fsync', refuse_folders)
    for refused in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EIO):
        expected = pytest.raises(OSError) if refused == errno.EIO else nullcontext()
        with expected, whole_file(target, flush=True) as partial:
            partial.write_text(str(refused))
        assert target.read_text() == str(refused)
    assert list(tmp_path.iterdir()) == [target]


def test_after_an_error_the_old_file_stands(tmp_path: Path) -> None:
    target = tmp_path / 'a.txt'
    target.write_text('old')

    with pytest.raises(KeyboardInterrupt), whole_file(target) as partial:
        partial.write_text('half')
        raise KeyboardInterrupt
    assert target.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [target]


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    for raised, shown in (('partial', 'a.mp4'), (None, 'a.mp4'), ('b.mp4', 'b.mp4')):
        with pytest.raises(OSError) as failed, whole_file(tmp_path / 'a.mp4') as partial:
            name = str(partial) if raised == 'partial' else raised
            raise OSError(errno.ENOSPC, 'No space left on device', name)
        assert Path(failed.value.filename).name == shown


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """The limit of a file's size stands for the disk: a part of the file is written, and then no more."""
    code = (
        'import resource, signal, sys, numpy as np\n'
        'from pathlib import Path\n'
        'from mmmtl.io import write_png\n'
        'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n'
        'array = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)\n'
        'write_png(Path(sys.argv[1]), array)\n'
    )
    found = subprocess.run([sys.executable, '-c', code, tmp_path / 'a.png'], capture_output=True, text=True)
    assert re.search(r"OSError: .*check the free space and the folder: '.*a\.png'", found.stderr)
    assert not [*tmp_path.iterdir()]


def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / 'a.txt'
    target.write_text('old')

    if not (child := os.fork()):
        with whole_file(target) as partial:
            partial.write_text('half')
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert target.read_text() == 'old'
    remove_partial_files(tmp_path)
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / 'real.png', tmp_path / 'link.png'
    real.write_bytes(b'old')
    link.symlink_to(real)

    write_png(link, np.zeros((2, 2), np.uint8))
    assert link.is_symlink()
    assert real.read_bytes()[:4] == b'\x89PNG'


def test_a_folder_or_a_protected_file_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match='folder'):
        write_text(tmp_path, 'text')
    (tmp_path / 'a.txt').write_text('old')
    monkeypatch.setattr('os.access', lambda path, mode: False)  # root may write everything
    with pytest.raises(PermissionError, match=r'a\.txt'):
        write_text(tmp_path / 'a.txt', 'text')
