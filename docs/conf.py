"""Settings of the documentation, which `make docs` builds."""

from __future__ import annotations

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
# Types and classes of other packages have no pages here, and what is not public has none either.
nitpick_ignore_regex = [(r'py:.*', r'.*')]

html_theme = 'furo'
html_title = f'mmmtl {version}'
html_copy_source = False
html_theme_options = {'navigation_with_keys': True}
