"""print_config.py: what it prints is resolved, and what it saves is a config."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.config import Config

from mmmtl.config import resolve

TOOL = 'tools/misc/print_config.py'


def test_overrides_reach_everything(run_tool: Callable[..., str], tiny: tuple[str, list[str]], tmp_path: Path) -> None:
    saved = tmp_path / 'new' / 'resolved.py'
    options = ('tasks.depth.loss_weight=7.5', 'key_frame_interval=3')
    printed = run_tool(TOOL, tiny[0], '--tasks', 'depth,semseg', '--save-path', saved, '--cfg-options', *options)
    cfg = Config.fromfile(saved)
    assert printed.strip().endswith(cfg.pretty_text.strip())
    assert list(cfg.model.tasks) == ['depth', 'semseg']
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.metainfo.tasks.depth.loss_weight == 7.5
        assert loader.dataset.clip.interval == 3
    assert cfg.model.key_frame_policy.interval == 3
    assert resolve(cfg).pretty_text == cfg.pretty_text


def test_save_path_of_another_kind(run_tool: Callable[..., str], tiny: tuple[str, list[str]]) -> None:
    with pytest.raises(SystemExit, match=r'resolved\.txt: .*\.py'):
        run_tool(TOOL, tiny[0], '--save-path', 'resolved.txt')
