"""The pages of the documentation: links, pages within reach, pictures, public names, and the settings of the site."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import itertools
import json
import os
import pydoc
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import mmmtl
from mmmtl import registry

from .conftest import FILES, ROOT

DOCS = ROOT / 'docs'
PAGES = {path.stem: path.read_text(encoding='utf-8') for path in sorted(DOCS.glob('*.md'))}


def prose(text: str) -> str:
    """Return the text without blocks and spans of code."""
    return re.sub(r'`[^`\n]*`', '', re.sub(r'^```.*?^```', '', text, flags=re.DOTALL | re.MULTILINE))


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as GitHub and MyST make them."""
    headings = re.findall(r'^#+ (.+)$', re.sub(r'^```.*?^```', '', text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def links() -> Iterator[tuple[Path, str, str]]:
    """Yield (page, target, anchor) of every link to a file or to a heading."""
    for path, text in FILES.items():
        for target in re.findall(r'\]\(([^)\s]+)\)', prose(text)) + re.findall(r'\{download\}`([^`<>]+)`', text):
            if not re.match(r'https?:|mailto:', target):
                name, _, anchor = target.partition('#')
                yield path, name, anchor


def test_links_lead_to_files_and_headings() -> None:
    broken, seen = [], 0
    for page, name, anchor in links():
        target = page if not name else (page.parent / name)
        seen += 1
        if not target.exists():
            broken.append(f'{page.relative_to(ROOT)}: {name}')
        elif anchor and anchor not in anchors(target.read_text(encoding='utf-8')):
            broken.append(f'{page.relative_to(ROOT)}: {name}#{anchor}')
    assert seen > 120
    assert not broken


def test_blocks_can_be_read() -> None:
    """Python compiles, and what it imports of mmmtl exists; data can be parsed."""
    seen, wrong = 0, []
    for path, text in FILES.items():
        for language, block in re.findall(r'^```(python|json|yaml)\n(.*?)^```', text, re.DOTALL | re.MULTILINE):
            seen += 1
            try:
                if language == 'python':
                    check_imports(ast.parse(block))
                else:
                    yaml.safe_load(block)  # JSON is a part of YAML
            except (SyntaxError, ImportError, AttributeError, KeyError, yaml.YAMLError) as error:
                wrong.append(f'{path.relative_to(ROOT)}: {error!r} in\n{block}')
    assert seen > 30
    assert not wrong, '\n'.join(wrong)


def check_imports(code: ast.Module) -> None:
    """Refuse imports of what mmmtl does not have."""
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition('.')[0] == 'mmmtl':
                    importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition('.')[0] == 'mmmtl':
            module = importlib.import_module(node.module)
            for alias in node.names:
                getattr(module, alias.name)


def test_named_components_exist() -> None:
    """`type='Name'` in a block of Python names a component of a registry, or a class of another block."""
    blocks = ''.join(
        block
        for text in FILES.values()
        for block in re.findall(r'^```python\n(.*?)^```', text, re.DOTALL | re.MULTILINE)
    )
    named = set(re.findall(r"\btype='(\w+)'", blocks)) - set(re.findall(r'^class (\w+)', blocks, re.MULTILINE))
    registries = [getattr(registry, name) for name in registry.__all__]

    assert len(named) > 15
    assert not [name for name in sorted(named) if not any(registry.get(name) for registry in registries)]


def test_the_names_to_upgrade_to_exist() -> None:
    rows = re.findall(r'^\| .* \| (.*) \|$', (ROOT / 'UPGRADING.md').read_text(encoding='utf-8'), re.MULTILINE)
    names = {name for row in rows for name in re.findall(r'`(mmmtl(?:\.(?:\w+|\{[\w,]+\}))+)', row)}
    assert len(names) > 30
    for name in names:
        parts = [part.strip('{}').split(',') for part in re.findall(r'\w+|\{[\w,]+\}', name)]
        for path in map('.'.join, itertools.product(*parts)):
            assert pydoc.locate(path) is not None, path


def test_every_page_is_in_the_menu() -> None:
    menus = ''.join(re.findall(r'```\{toctree\}(.*?)```', PAGES['index'], re.DOTALL))

    assert sorted(re.findall(r'^([a-z_]+)$', menus, re.MULTILINE)) == sorted(set(PAGES) - {'index'})


def test_pictures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (DOCS / 'images').iterdir()}

    assert sizes and max(sizes.values()) < 200_000
    assert sum(sizes.values()) < 1_000_000


def test_the_notebook_has_no_outputs() -> None:
    cells = json.loads((DOCS / 'notebooks/first_steps.ipynb').read_text(encoding='utf-8'))['cells']

    assert all(not cell.get('outputs') and cell.get('execution_count') is None for cell in cells)


def test_the_api_has_a_page_for_every_public_name() -> None:
    listed = re.findall(r'^   (mmmtl[\w.]*)$', PAGES['api'], re.MULTILINE)
    exported = [importlib.import_module(name) for name in listed]
    public = {
        id(getattr(module, name)): name
        for module in list(sys.modules.values())
        if getattr(module, '__name__', '').startswith(mmmtl.__name__)
        for name in getattr(module, '__all__', ())
        if callable(getattr(module, name))
    }
    described = {id(getattr(module, name)) for module in exported for name in module.__all__}

    assert len(public) > 200
    single = re.findall(r'autofunction:: [\w.]*\.(\w+)$', PAGES['api'], re.MULTILINE)
    assert not [name for key, name in public.items() if key not in described and name not in single]


@pytest.mark.skipif(not importlib.util.find_spec('furo'), reason='needs requirements/docs.txt')
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / 'docs', ignore=shutil.ignore_patterns('api'))  # an earlier build may be there
    shutil.copy(ROOT / 'UPGRADING.md', tmp_path)
    command = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-n', 'docs', 'html']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)

    assert result.returncode == 0, result.stderr
    built = {path.stem for path in (tmp_path / 'html').glob('*.html')}
    assert set(PAGES) <= built
    inventory = (tmp_path / 'html/api/mmmtl.apis.html').read_text(encoding='utf-8')
    assert 'id="mmmtl.apis.MultiTaskInferencer"' in inventory
