"""The package as a whole: what importing it does, and that its project files agree with each other."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from mmengine.config import Config
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mmmtl
from mmmtl._environment import OWNERS, REQUIRED, find_problem

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENT_FILES = sorted(path for path in (ROOT / 'requirements').glob('*.txt'))
# Which requirements each set of constraints pins; slow.txt pins more, for tests alone.
CONSTRAINTS = {
    'constraints': ('runtime', 'mminstall', 'demo', 'export', 'optional', 'tests', 'docs', 'release'),
    'constraints-oldest': ('runtime', 'mminstall', 'demo', 'export', 'optional', 'tests'),
    'constraints-newest': ('runtime', 'mminstall', 'demo', 'export', 'optional', 'tests'),
    'slow': ('browser', 'rerun'),
}
ONEDL = ['onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation']

# Imports every module of mmmtl with mmcv.ops out of reach, and fails where one of ours asks for it.
IMPORT_EVERYTHING = """
import builtins, importlib.util, pkgutil, sys

sys.modules['mmcv.ops'] = None
original_import = builtins.__import__

def guarded_import(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get('__name__') or ''
    asks = name.startswith('mmcv.ops') or (name == 'mmcv' and 'ops' in (fromlist or ()))
    assert not (asks and importer.split('.')[0] == 'mmmtl'), f'{importer} imports mmcv.ops'
    return original_import(name, globals, locals, fromlist, level)

builtins.__import__ = guarded_import
import mmmtl

def fail(name):
    raise  # walk_packages swallows the ImportError of a package otherwise

names = [module.name for module in pkgutil.walk_packages(mmmtl.__path__, 'mmmtl.', onerror=fail)]
for name in names:
    if not name.endswith('.triton_kernels') or importlib.util.find_spec('triton'):
        importlib.import_module(name)
print(*names, sep='\\n')
"""


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def read_requirements(path: Path) -> dict[str, Requirement]:
    lines = [line.split('#', 1)[0].strip() for line in path.read_text(encoding='utf-8').splitlines()]
    requirements = [Requirement(line) for line in lines if line]
    named = {canonicalize_name(requirement.name): requirement for requirement in requirements}
    assert len(named) == len(requirements), f'{path.name} names a distribution twice'
    return named


def load_setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location('mmmtl_setup', ROOT / 'setup.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_version_is_the_same_everywhere() -> None:
    version = Version(mmmtl.__version__)
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    headings = [
        line for line in (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8').splitlines() if line.startswith('## ')
    ]

    assert load_setup().get_version() == mmmtl.__version__
    assert Version(str(citation['version'])) == version
    assert headings[0] == '## [Unreleased]'
    released = Version(headings[1].removeprefix('## [').partition(']')[0])
    assert version > released if version.is_devrelease else version == released


def test_import_is_light() -> None:
    heavy = ['torch', 'numpy', 'cv2', 'mmengine', 'mmcv', 'mmseg']
    result = run_python(f'import sys, mmmtl; print(sorted(set(sys.modules) & set({heavy})))')

    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == '[]'


def test_every_module_imports_and_none_needs_mmcv_ops() -> None:
    result = run_python(IMPORT_EVERYTHING)

    assert result.returncode == 0, result.stderr
    found = [line for line in result.stdout.splitlines() if line.startswith('mmmtl.')]
    written = {
        '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
        for path in (ROOT / 'mmmtl').rglob('*.py')
        if '.mim' not in path.parts
    }
    assert 'mmmtl.version' in found
    # A module in a folder without __init__.py would not be packaged.
    assert set(found) == written - {'mmmtl'}


def test_no_problem_in_a_good_environment() -> None:
    assert find_problem(ONEDL, list(OWNERS)) is None


def test_two_owners_of_one_package_are_refused_with_the_repair() -> None:
    problem = find_problem([*ONEDL, 'mmengine', 'mmcv-lite'], list(OWNERS))

    assert problem is not None
    assert 'mmengine belongs to mmengine and onedl-mmengine' in problem
    assert 'mmcv belongs to mmcv-lite and onedl-mmcv' in problem
    uninstall, install = problem.splitlines()[1:]
    assert uninstall.strip().startswith('pip uninstall -y ')
    assert set(uninstall.split()[3:]) == {*ONEDL, 'mmengine', 'mmcv-lite'}
    assert install.strip().startswith('pip install --force-reinstall --no-deps ')
    assert all(f'"{requirement}"' in install for requirement in REQUIRED.values())


@pytest.mark.parametrize('missing', [['mmengine'], ['mmcv', 'mmseg']])
def test_missing_packages_are_named_with_the_install_command(missing: list[str]) -> None:
    problem = find_problem([], [package for package in OWNERS if package not in missing])

    assert problem is not None
    assert problem.startswith(f'mmmtl needs {", ".join(missing)}, which ')
    assert 'pip install -r requirements/mminstall.txt' in problem
    assert 'mim install' in problem


def test_import_refuses_a_second_mmengine(tmp_path: Path) -> None:
    for name in ('mmengine', 'onedl_mmengine'):
        folder = tmp_path / f'{name}-0.10.7.dist-info'
        folder.mkdir()
        (folder / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 0.10.7\n', encoding='utf-8')

    result = run_python('import mmmtl', PYTHONPATH=str(tmp_path))

    assert result.returncode == 1
    assert 'ImportError: Two distributions have installed the same package' in result.stderr
    assert 'mmengine and onedl-mmengine' in result.stderr
    assert 'pip uninstall -y' in result.stderr


@pytest.mark.parametrize('path', REQUIREMENT_FILES, ids=lambda path: path.stem)
def test_requirements_parse(path: Path) -> None:
    assert read_requirements(path), f'{path.name} is empty'


def test_requirements_agree() -> None:
    files = {path.stem: read_requirements(path) for path in REQUIREMENT_FILES}
    extras = {'browser', 'demo', 'docs', 'export', 'mminstall', 'optional', 'release', 'rerun', 'runtime', 'tests'}
    assert set(files) == {*CONSTRAINTS, *extras}

    assert {str(requirement) for requirement in files['mminstall'].values()} == {
        str(Requirement(requirement)) for requirement in REQUIRED.values()
    }
    assert not set(files['runtime']) & set(files['mminstall'])
    # It would overwrite cv2 of opencv-python, which onedl-mmcv requires.
    assert not any('opencv-python-headless' in requirements for requirements in files.values())

    setup = load_setup()
    for stem, requirements in files.items():
        assert [canonicalize_name(Requirement(line).name) for line in setup.parse_requirements(stem)] == [*requirements]


@pytest.mark.parametrize('constraints', CONSTRAINTS)
def test_constraints_pin_what_is_installed_within_its_range(constraints: str) -> None:
    pins = read_requirements(ROOT / 'requirements' / f'{constraints}.txt')
    for requirement in pins.values():
        assert [specifier.operator for specifier in requirement.specifier] == ['=='], str(requirement)

    checked = 0
    for stem in CONSTRAINTS[constraints]:
        for name, requirement in read_requirements(ROOT / 'requirements' / f'{stem}.txt').items():
            if (constraints, name) == ('constraints-oldest', 'triton'):
                assert name not in pins
                continue
            assert name in pins, f'{requirement} of {stem}.txt is not pinned'
            assert pins[name].marker == requirement.marker, f'{pins[name]} is not for the platforms of {requirement}'
            (pin,) = pins[name].specifier
            assert requirement.specifier.contains(pin.version), f'{pins[name]} is outside {requirement}'
            if constraints == 'constraints-oldest':
                (floor,) = (Version(part.version).release for part in requirement.specifier if part.operator == '>=')
                assert Version(pin.version).release[: len(floor)] == floor, (
                    f'{pins[name]} is not the oldest {requirement}'
                )
            checked += 1
    assert checked >= (2 if constraints == 'slow' else 15)


def test_model_index_lists_every_metafile() -> None:
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
    metafiles = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs').glob('*/metafile.yml')}

    assert set(index) == {'Import'}
    assert set(index['Import']) == metafiles
    for path in index['Import']:
        assert yaml.safe_load((ROOT / path).read_text(encoding='utf-8')), f'{path} is empty'


def test_readmes_name_configs_that_exist_and_checkpoints_that_they_save() -> None:
    pattern = r'(?<=[\s=])((?:projects|configs)/[\w./-]+\.py)|(iter|epoch)_(\d+)\.pth'
    named = 0
    for path in [ROOT / 'README.md', *ROOT.glob('projects/**/README.md'), *ROOT.glob('configs/**/README.md')]:
        config: Path | None = None
        for found in re.finditer(pattern, path.read_text()):
            if found[1]:
                config = ROOT / found[1]
                assert 'my_' in found[1] or config.is_file(), f'{path}: {found[1]}'
                continue
            assert config is not None, f'{path}: {found[0]}'
            cfg = Config.fromfile(config, import_custom_modules=False)
            number, last = int(found[3]), cfg.train_cfg[f'max_{found[2]}s']
            saved = number == last or number < last and number % cfg.default_hooks.checkpoint.interval == 0
            assert saved, f'{path}: {config.name} does not save {found[0]}'
            named += 1
    assert named >= 3


def test_citation_is_complete() -> None:
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))

    assert {'cff-version', 'message', 'title', 'authors', 'version', 'license'} <= set(citation)
    assert [author['name'] for author in citation['authors']] == ['mmmtl contributors']
    assert citation['license'] == 'Apache-2.0'
    assert 'Apache License' in (ROOT / 'LICENSE').read_text(encoding='utf-8')


@pytest.mark.parametrize('link', [True, False], ids=['editable', 'wheel'])
def test_mim_extension_holds_configs_and_tools(tmp_path: Path, link: bool) -> None:
    setup = load_setup()
    expected = {name for name in setup.MIM_FILES if (ROOT / name).exists()}
    assert 'model-index.yml' in expected

    for _ in range(2):  # the second call replaces what the first one left
        setup.add_mim_extension(tmp_path / 'mmmtl', link=link)

    mim_dir = tmp_path / 'mmmtl' / '.mim'
    assert {path.name for path in mim_dir.iterdir()} == expected
    for name in expected:
        assert (mim_dir / name).is_symlink() == link
        files = [path for path in (ROOT / name).rglob('*.py') if '__pycache__' not in path.parts]
        assert all((mim_dir / path.relative_to(ROOT)).is_file() for path in files)
    assert (mim_dir / 'model-index.yml').read_bytes() == (ROOT / 'model-index.yml').read_bytes()


def test_package_holds_every_file(tmp_path: Path) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / 'mmmtl').rglob('*')
        if path.is_file() and not {'.mim', '__pycache__'} & set(path.parts)
    }
    assert 'mmmtl/py.typed' in expected

    subprocess.run(
        [sys.executable, 'setup.py', '-q', 'egg_info', '-e', tmp_path, 'build_py', '--build-lib', tmp_path / 'lib'],
        cwd=ROOT,
        check=True,
        timeout=600,
    )

    built = {path.relative_to(tmp_path / 'lib').as_posix() for path in (tmp_path / 'lib' / 'mmmtl').rglob('*')}
    assert expected <= built
    assert 'mmmtl/.mim/model-index.yml' in built

    metadata = (tmp_path / 'mmmtl.egg-info' / 'PKG-INFO').read_text(encoding='utf-8')
    licences = ['LICENSE', 'mmmtl/weights/mila-indoor.LICENSE.txt']
    assert [line.split(': ')[1] for line in metadata.splitlines() if line.startswith('License-File')] == licences


def test_a_torchvision_that_does_not_fit_torch_is_named(tmp_path: Path) -> None:
    """It fails as the operators of another build do; one that is whole is imported as ever."""
    (tmp_path / 'torchvision').mkdir()
    module = tmp_path / 'torchvision' / '__init__.py'
    module.write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get('PYTHONPATH')]))
    failed = run_python('import mmmtl, torchvision', PYTHONPATH=path)
    assert failed.returncode
    assert 'operator torchvision::nms does not exist' in failed.stderr
    assert 'pip uninstall -y torchvision' in failed.stderr and 'pip install torchvision "torch==' in failed.stderr
    module.write_text('whole = 1')
    assert run_python('import mmmtl, torchvision; print(torchvision.whole)', PYTHONPATH=path).stdout == '1\n'
