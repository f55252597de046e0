"""Settings of the documentation, which `make docs` builds."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import mmmtl

project = 'mmmtl'
author = 'mmmtl contributors'
copyright = 'the mmmtl contributors'
version = release = mmmtl.__version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.autosummary', 'sphinx.ext.napoleon']
templates_path = ['_templates']
exclude_patterns = ['_templates', 'notebooks']
myst_enable_extensions = ['dollarmath']
myst_heading_anchors = 4

default_role = 'code'  # docstrings write code in single backticks
autodoc_member_order = 'bysource'
autodoc_inherit_docstrings = False  # an overriding method is described where it is declared
autodoc_typehints_format = 'short'
# Classes of other packages have no page here.
nitpick_ignore_regex = [(r'py:.*', r'.*')]

html_theme = 'furo'
html_title = f'mmmtl {version}'
html_copy_source = False
html_static_path = ['_static']
html_css_files = ['mmmtl.css']
html_math_renderer = 'mathml'  # MathJax would be loaded from the network

PAGES = re.findall(r'^   (mmmtl[\w.]*)$', (Path(__file__).parent / 'api.md').read_text(encoding='utf-8'), re.MULTILINE)


def setup(app: Sphinx) -> None:
    """Connect the functions below; docstrings become reStructuredText before napoleon sees them."""
    app.connect('source-read', unlink_files)
    app.connect('autodoc-process-docstring', convert_docstring, priority=400)
    app.connect('autodoc-skip-member', skip_described)
    app.add_html_math_renderer('mathml', (write_inline, None), (write_block, None))


def write_inline(writer: HTML5Translator, node: nodes.math) -> None:
    """Write a formula as MathML, which browsers draw without a script."""
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def write_block(writer: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on lines of its own."""
    writer.body.append(convert(node.astext(), display='block'))
    raise nodes.SkipNode


def unlink_files(app: Sphinx, page: str, source: list[str]) -> None:
    """Make links to files outside docs/ plain text: they have no page here."""
    source[0] = re.sub(r'\[([^\]]+)\]\(\.\./[^)]+\)', r'\1', source[0])


def convert_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Convert fenced blocks, and escape what means nothing in our docstrings but something in reStructuredText."""
    in_block = False
    for number, line in enumerate(lines):
        if line.strip() == '```':
            in_block = not in_block
            lines[number] = '::' if in_block else ''
        elif in_block:
            lines[number] = '   ' + line if number and lines[number - 1] != '::' else '\n   ' + line
        else:
            parts = line.split('`')
            parts[::2] = [re.sub(r'[|]|(?<=\S)\*|\*(?=\S)|(?<=\w)_(?=\W|$)', r'\\\g<0>', part) for part in parts[::2]]
            lines[number] = '`'.join(parts)
    lines[:] = '\n'.join(lines).split('\n')


def skip_described(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out of a page what one of the pages before it describes."""
    page = app.env.temp_data.get('docname', '').removeprefix('api/')
    if what != 'module' or page not in PAGES:
        return None
    for other in PAGES[: PAGES.index(page)]:
        module = import_module(other)
        if name in getattr(module, '__all__', ()) and getattr(module, name) is obj:
            return True
    return None
