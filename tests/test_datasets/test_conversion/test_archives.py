"""Manifests, counts, folders that are whole or absent, and archives that must not be trusted."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from mmmtl.datasets.conversion.archives import checked_folder, extract, joined_folder, whole_folder
from mmmtl.datasets.conversion.manifest import check_counts, write_manifest


def test_the_manifest(tmp_path: Path) -> None:
    root = tmp_path / 'data'
    (root / 'images').mkdir(parents=True)
    (root / 'images/b.txt').write_bytes(b'two')
    (root / 'a.txt').write_bytes(b'')
    archive = tmp_path / 'a.zip'
    archive.write_bytes(b'archive')
    for _ in range(2):  # a second manifest does not list the first
        path = write_manifest(root, dataset='nyud', counts={'train': 2}, sources=[archive, tmp_path])
    found = json.loads(path.read_text())
    assert path == root / 'manifest.json' and (found['dataset'], found['counts']) == ('nyud', {'train': 2})
    two, seven = (hashlib.sha256(text).hexdigest() for text in (b'two', b'archive'))
    empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    assert list(found['files'].items()) == [
        ('a.txt', {'bytes': 0, 'sha256': empty}),
        ('images/b.txt', {'bytes': 3, 'sha256': two}),
    ]
    assert found['sources'] == [{'name': 'a.zip', 'bytes': 7, 'sha256': seven}, {'name': tmp_path.name}]
    assert sorted(file.name for file in root.iterdir()) == ['a.txt', 'images', 'manifest.json']


def test_the_manifest_has_files_behind_links(tmp_path: Path) -> None:
    root, store = tmp_path / 'data', tmp_path / 'store'
    (store / 'aachen').mkdir(parents=True)
    (store / 'aachen/a.txt').touch()
    root.mkdir()
    (root / 'leftImg8bit').symlink_to(store)
    (store / 'back').symlink_to(root)  # the walk must end
    path = write_manifest(root, dataset='cityscapes', counts={})
    assert list(json.loads(path.read_text())['files']) == ['leftImg8bit/aachen/a.txt']


def test_a_read_only_data_set_is_refused_before_it_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'a.txt').touch()
    monkeypatch.setattr('os.access', lambda path, mode: False)  # root may write everything
    monkeypatch.setattr('mmmtl.datasets.conversion.manifest.sha256_of', lambda file: pytest.fail('hashed'))
    with pytest.raises(ValueError, match=r'manifest\.json: .*write-protected'):
        write_manifest(tmp_path, dataset='nyud', counts={})


@pytest.mark.parametrize('text', ['{"short_name": "an app"}', 'a list', '{"dataset": "nyud"}'])
def test_a_file_that_is_no_manifest_is_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / 'manifest.json').write_text(text)
    with pytest.raises(ValueError, match=r'manifest\.json: .*would be overwritten; rename it'):
        write_manifest(tmp_path, dataset='nyud', counts={})
    assert (tmp_path / 'manifest.json').read_text() == text


def test_counts() -> None:
    check_counts({'train': 795, 'val': 654, 'more': 1}, {'train': 795, 'val': 654}, where='here')
    with pytest.raises(ValueError, match=r'here: .*train\D+794\D+795\D+val\D+0\D+654\D.*--allow-partial'):
        check_counts({'train': 794, 'other': 1}, {'train': 795, 'val': 654, 'other': 1}, where='here')


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    target = tmp_path / 'new' / 'data'
    with pytest.raises(KeyboardInterrupt), whole_folder(target) as root:
        (root / 'half').write_text('done')
        raise KeyboardInterrupt
    assert list((tmp_path / 'new').iterdir()) == []
    with whole_folder(target) as root:
        (root / 'whole').write_text('done')
        assert not target.exists()
    assert [file.name for file in target.iterdir()] == ['whole'] and [*target.parent.iterdir()] == [target]
    with pytest.raises(FileExistsError, match='data'), whole_folder(target):
        pass


def test_a_link_to_a_new_folder_is_followed(tmp_path: Path) -> None:
    link, target = tmp_path / 'camvid', tmp_path / 'disk' / 'store'
    link.symlink_to(target)
    with whole_folder(link) as root:
        (root / 'whole').write_text('done')
    assert link.is_symlink() and [*target.parent.iterdir()] == [target] and (link / 'whole').read_text() == 'done'


def test_a_stopped_conversion_leaves_nothing(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, whole_folder(tmp_path / 'data') as root:
        (root / 'half').write_text('done')
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail('not stopped')
    assert ended.value.code == 143 and list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_a_killed_conversion_left_is_named(tmp_path: Path) -> None:
    (tmp_path / 'data.partial-x1').mkdir()
    with pytest.warns(UserWarning, match=r'data\.partial-x1'), whole_folder(tmp_path / 'data'):
        pass


def write_tar(path: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, 'w:gz') as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type = len(content) if kind == tarfile.REGTYPE else 0, kind
            info.linkname = '/etc/passwd'
            archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, members: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


@pytest.mark.parametrize('suffix', ['.zip', '.tar.gz', '.tgz'])
def test_archives(tmp_path: Path, suffix: str) -> None:
    write = write_zip if suffix == '.zip' else write_tar
    archive = write(tmp_path / f'a{suffix}', {'one.txt': b'1', 'deep/..two/2.txt': b'22'})
    extract(archive, tmp_path / 'out')
    assert (tmp_path / 'out/one.txt').read_bytes() == b'1'
    assert (tmp_path / 'out/deep/..two/2.txt').read_bytes() == b'22'


@pytest.mark.parametrize('name', ['../evil', 'a/../../evil', '/evil', '..\\evil', 'C:\\evil', '\\\\host\\share\\evil'])
@pytest.mark.parametrize('write', [write_zip, write_tar])
def test_members_outside_the_folder(tmp_path: Path, write, name: str) -> None:
    archive = write(tmp_path / ('a.zip' if write is write_zip else 'a.tar.gz'), {'fine': b'1', name: b'2'})
    with pytest.raises(ValueError, match=r'a\.(zip|tar\.gz): .*evil'):
        extract(archive, tmp_path / 'in/out')
    assert not list(tmp_path.rglob('evil')) and not Path('/evil').exists()


def test_links_and_devices(tmp_path: Path) -> None:
    archives = [write_tar(tmp_path / f'{kind[0]}.tar.gz', {'x': b''}, kind) for kind in (b'1', b'2', b'3', b'6')]
    archives.append(write_zip(tmp_path / 'a.zip', {'x': b'/etc/passwd'}, stat.S_IFLNK | 0o777))
    for archive in archives:
        with pytest.raises(ValueError, match=f"{archive.name}: .*'x'"):
            extract(archive, tmp_path / 'out')
    assert list((tmp_path / 'out').iterdir()) == []


def test_bad_archives(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    for archive in (write_zip(tmp_path / 'a.zip', {'x': content}), write_tar(tmp_path / 'a.tar.gz', {'x': content})):
        archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
        with pytest.raises(ValueError, match=f'{archive.name}: '):
            extract(archive, tmp_path / 'out')
    (tmp_path / 'a.rar').write_bytes(b'Rar!')
    with pytest.raises(ValueError, match=r'a\.rar: .*\.zip.*\.tar'):
        extract(tmp_path / 'a.rar', tmp_path / 'out')
    with pytest.raises(FileNotFoundError, match=r'b\.zip: '):
        extract(tmp_path / 'b.zip', tmp_path / 'out')


def test_the_folder_inside_an_archive(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / 'a.zip', {'a/NYUD/gt_sets/train.txt': b'1', 'a/b/NYUD/gt_sets/other.txt': b'2'})
    with checked_folder(archive, tmp_path / 'out', marker='gt_sets') as root:
        assert (root / 'gt_sets/train.txt').read_bytes() == b'1'
    assert (tmp_path / 'out/gt_sets/train.txt').exists() and sorted(p.name for p in tmp_path.iterdir()) == [
        'a.zip',
        'out',
    ]
    with checked_folder(tmp_path / 'out', None, marker='gt_sets') as root:
        assert root == tmp_path / 'out'
    for source, out, message in (
        (archive, None, r'a\.zip: .*--out'),
        (tmp_path / 'out', tmp_path / 'new', 'out: .*--out'),
        (tmp_path, None, 'gt_sets'),
        (tmp_path / 'typo', None, 'typo: '),
        (write_zip(tmp_path / 'b.zip', {'x': b''}), tmp_path / 'new', r'b\.zip: .*gt_sets'),
    ):
        with (
            pytest.raises((ValueError, FileNotFoundError), match=message),
            checked_folder(source, out, marker='gt_sets'),
        ):
            pass
        assert not (tmp_path / 'new').exists()


def test_several_archives_become_one_folder(tmp_path: Path) -> None:
    a, b = (write_zip(tmp_path / f'{name}.zip', {f'maps/{name}.png': b'1'}) for name in 'ab')
    with joined_folder([a, b], tmp_path / 'out') as root:
        assert sorted(path.name for path in (root / 'maps').iterdir()) == ['a.png', 'b.png']

    def arrange(unpacked: Path, root: Path) -> None:
        (unpacked / 'maps').rename(root / 'labels')

    with joined_folder([a, b], tmp_path / 'arranged', arrange=arrange) as root:
        assert [path.name for path in root.iterdir()] == ['labels']
    assert sorted(path.name for path in (tmp_path / 'arranged/labels').iterdir()) == ['a.png', 'b.png']
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.zip', 'arranged', 'b.zip', 'out']
    with joined_folder([tmp_path / 'out'], None) as root:
        assert root == tmp_path / 'out'
    for sources, out, message in (
        ([a], None, r'a\.zip: .*--out'),
        ([tmp_path / 'out', tmp_path / 'arranged'], None, 'out: .*--out'),
        ([a, tmp_path / 'out'], tmp_path / 'new', 'out: .*--out'),
        ([a, tmp_path / 'typo.zip'], tmp_path / 'new', r'typo\.zip: '),
        ([tmp_path / 'typo'], None, 'typo: '),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message), joined_folder(sources, out):
            pass
        assert not (tmp_path / 'new').exists()
