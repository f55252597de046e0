"""Packages mmmtl, with its configs and tools in `mmmtl/.mim` as OpenMMLab's `mim` expects."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
EXTRAS = ('browser', 'demo', 'export', 'optional', 'rerun')
MIM_FILES = ('configs', 'demo', 'model-index.yml', 'tools')


def get_version() -> str:
    """Reads the version without importing the package, which would need its dependencies."""
    scope: dict[str, str] = {}
    exec((ROOT / 'mmmtl' / 'version.py').read_text(encoding='utf-8'), scope)
    return scope['__version__']


def parse_requirements(name: str) -> list[str]:
    """Lists the requirements in `requirements/<name>.txt`."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    requirements = (line.split('#', 1)[0].strip() for line in lines)
    return [requirement for requirement in requirements if requirement]


def read_readme() -> str:
    """Returns the long description."""
    readme = ROOT / 'README.md'
    return readme.read_text(encoding='utf-8') if readme.is_file() else ''


def add_mim_extension(package_dir: Path, *, link: bool) -> None:
    """Puts configs, tools, demo and the model index into `<package_dir>/.mim`.

    Args:
        package_dir: the package in the source tree (editable install) or in the build tree (wheel).
        link: link instead of copying, so that an editable install always sees the current files.
    """
    mim_dir = package_dir / '.mim'
    if mim_dir.exists():
        shutil.rmtree(mim_dir)
    mim_dir.mkdir(parents=True)
    for name in MIM_FILES:
        source, target = ROOT / name, mim_dir / name
        if not source.exists():
            continue
        if link:
            try:
                target.symlink_to(os.path.relpath(source, mim_dir), target_is_directory=source.is_dir())
                continue
            except OSError:  # Windows allows links to administrators only
                pass
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__', '*.pyc', '.*'))
        else:
            shutil.copy2(source, target)


def list_extensions() -> list[Extension]:
    """Lists what `MMMTL_BUILD_EXTENSIONS=1 pip install ...` compiles; otherwise that happens on first use.

    Local attention on the CPU needs a compiler, but neither Python nor PyTorch: it is loaded with ctypes.
    """
    if os.environ.get('MMMTL_BUILD_EXTENSIONS', '0') in ('', '0'):
        return []
    folder = 'mmmtl/ops/local_attention/csrc'
    return [
        Extension(
            'mmmtl.ops.local_attention._cpu',
            sources=[f'{folder}/{path.name}' for path in sorted((ROOT / folder).glob('*.cpp'))],
            depends=[f'{folder}/{path.name}' for path in sorted((ROOT / folder).glob('*.h'))],
            extra_compile_args=['-std=c++20', '-O3', '-fopenmp', '-ffp-contract=fast', '-Wno-psabi'],
            extra_link_args=['-fopenmp'],
            language='c++',
        )
    ]


class BuildWithMim(build_py):
    """Adds `.mim` where the package is built; OpenMMLab looks for `develop` in argv, which modern pip never passes."""

    def run(self) -> None:
        """Builds the package, then `.mim`."""
        super().run()
        if self.editable_mode:
            add_mim_extension(ROOT / 'mmmtl', link=True)
        else:
            add_mim_extension(Path(self.build_lib) / 'mmmtl', link=False)


if __name__ == '__main__':
    setup(
        name='mmmtl',
        version=get_version(),
        description='Multi-task dense prediction from images and video, on OpenMMLab conventions',
        long_description=read_readme(),
        long_description_content_type='text/markdown',
        author='mmmtl contributors',
        license='Apache-2.0',
        # The weights are for research only.
        license_files=['LICENSE', 'mmmtl/weights/*.LICENSE.txt'],
        keywords='computer vision, multi-task learning, video, semantic segmentation, depth estimation',
        classifiers=[
            'Development Status :: 3 - Alpha',
            'Intended Audience :: Science/Research',
            'Operating System :: OS Independent',
            'Programming Language :: Python :: 3',
            'Programming Language :: Python :: 3.10',
            'Programming Language :: Python :: 3.11',
            'Programming Language :: Python :: 3.12',
            'Programming Language :: Python :: 3.13',
            'Topic :: Scientific/Engineering :: Artificial Intelligence',
            'Topic :: Scientific/Engineering :: Image Recognition',
            'Typing :: Typed',
        ],
        packages=find_packages(include=['mmmtl', 'mmmtl.*']),
        py_modules=['mmmtl_command'],
        include_package_data=True,
        entry_points={'console_scripts': ['mmmtl = mmmtl_command:main']},
        python_requires='>=3.10',
        install_requires=parse_requirements('runtime'),
        extras_require={
            'all': sum(map(parse_requirements, ('runtime', 'mminstall', *EXTRAS)), []),
            'mim': parse_requirements('mminstall'),
            'tests': parse_requirements('tests'),
            **{name: parse_requirements(name) for name in EXTRAS},
        },
        ext_modules=list_extensions(),
        cmdclass={'build_py': BuildWithMim},
        zip_safe=False,
    )
