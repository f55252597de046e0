"""Overrides of a config: from the text of a command line to values in their places."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from mmmtl._suggestions import nearest
from mmmtl.registry import accepts

from .keys import READ, suggestion
from .variables import read_config_file, read_names

WORDS = {'inf': float('inf'), 'nan': float('nan'), 'true': True, 'false': False}
ABSENT = object()

THOUSANDS = re.compile(r'\d{1,3}(_\d{3})+(\.\d+)?')
"""Numbers whose underscores separate thousands; 2024_01_05 is rather a name."""


def parse_value(text: str) -> Any:
    """Return the value of an option: a Python literal, in which words need no quotes, or else the text itself.

    Commas outside brackets and quotes make a list. Other text, such as a path, keeps spaces and equals signs. Quotes
    make any text a string.

    Examples:
        >>> parse_value('1,2'), parse_value('(1, -2)'), parse_value('[semseg, depth]')
        ([1, 2], (1, -2), ['semseg', 'depth'])
        >>> parse_value("{'type': 'SGD', 'lr': 1e-2}"), parse_value("dict(type='SGD')")
        ({'type': 'SGD', 'lr': 0.01}, {'type': 'SGD'})
        >>> parse_value('/data/my pictures'), parse_value("'1,2'"), parse_value('None'), parse_value('true')
        ('/data/my pictures', '1,2', None, True)
    """
    text = text.strip()
    source = f'[{text}]'
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about text that is not Python
            parsed = ast.parse(source, mode='eval').body
            items = [_value(item, source) for item in parsed.elts] if isinstance(parsed, ast.List) else None
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        items = None
    if items is None:
        return _split(text)
    if not items:
        return text
    return items if len(items) > 1 or text.endswith(',') else items[0]


def merge_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Put overrides {dotted key: value} into a config; dicts are merged, other values replaced.

    Raises:
        ValueError: nothing reads the key, or its path leads through something that is not there.
    """
    for key, value in options.items():
        old = _check_option(cfg, key)
        if isinstance(value, Mapping) and old is not ABSENT and not isinstance(old, Mapping):
            value = {**value, '_delete_': True}  # mmengine refuses a dict in the place of something else
        cfg.merge_from_dict({key: value})


def _check_option(cfg: Config, key: str) -> Any:
    """Return the present value of a key, or `ABSENT`; refuse a key that reaches nothing."""
    where = f'--cfg-options {key}'
    top, *rest = key.split('.')
    if top not in READ:
        own = top in cfg and top not in read_names(read_config_file(cfg.filename)) and not top.endswith('pipeline')
        if not own or suggestion(top):
            raise ValueError(f'{where}: nothing reads {top!r} here; {_instead(cfg, top)}')
    node, path = cfg.get(top, ABSENT), top
    for part in rest:
        if not part:
            raise ValueError(f'{where}: the key has an empty part')
        if isinstance(node, list):
            if not (part.isdecimal() and int(part) < len(node)):
                raise ValueError(f'{where}: {path} is a list of {len(node)}, so it has no entry {part!r}')
            node = node[int(part)]
        elif isinstance(node, Mapping):
            if part not in node:
                _check_new(node, part, path, where)
            node = node.get(part, ABSENT)
        elif node is not ABSENT:
            raise ValueError(f'{where}: {path} is {node!r}, which has no parts; set it as a whole')
        path = f'{path}.{part}'
    return node


def _check_new(node: Mapping[str, Any], part: str, path: str, where: str) -> None:
    """Refuse a new key that nearly matches its neighbours and that its component does not take."""
    near = nearest(part, map(str, node))
    # The names of tasks are free, and so is what describes a data set.
    if near and path != 'tasks' and not path.endswith('metainfo') and not accepts(node, part):
        raise ValueError(f'{where}: {path} has no {part!r}; did you mean {near[0]!r}?')


def _instead(cfg: Config, top: str) -> str:
    if hint := suggestion(top):
        return hint
    if top in cfg:
        return (
            'it is a variable of the config file, which has been used already; set the keys that hold its value, such '
            'as train_dataloader.dataset.pipeline or train_dataloader.dataset.data_root'
        )
    return f'known keys are {sorted(READ)}'


def _value(node: ast.expr, source: str) -> Any:
    """Evaluate literals and calls of `dict`; anything else is the text of its source, and so is the date 2024_01_05."""
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, (str, int, float))):
        if isinstance(node.value, (int, float)) and '_' in source:
            text = ast.get_source_segment(source, node) or ''
            return node.value if THOUSANDS.fullmatch(text) or '_' not in text else text
        return node.value
    if isinstance(node, ast.List):
        return [_value(item, source) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item, source) for item in node.elts)
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_value(k, source): _value(v, source) for k, v in zip(node.keys, node.values, strict=True) if k}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict' and not node.args:
        items = {keyword.arg: _value(keyword.value, source) for keyword in node.keywords}
        if None not in items:  # the name of **
            return items
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        operand = _value(node.operand, source)
        if isinstance(operand, (int, float)) and not isinstance(operand, bool):
            return -operand if isinstance(node.op, ast.USub) else operand
    text = ast.get_source_segment(source, node) or ''
    return WORDS.get(text.lower(), text)


def _split(text: str) -> Any:
    """Return text that is not Python, such as a path; a list if it has commas outside brackets and quotes."""
    bracketed = text.startswith('[') and text.endswith(']')
    parts, depth, quote = [''], 0, ''
    for letter in text[1:-1] if bracketed else text:
        if quote or letter in '\'"':
            quote = '' if letter == quote else quote or letter
        depth += (letter in '[({') - (letter in '])}')
        if letter == ',' and not depth and not quote:
            parts.append('')
        else:
            parts[-1] += letter
    if len(parts) == 1 and not bracketed:
        return text
    return [parse_value(part) for part in parts if part.strip()]
