"""Which methods can be exported, and why others cannot; docs/export.md has the same table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from mmmtl.apis import MultiTaskInferencer
from mmmtl.export import export_model

from .conftest import moving

ROOT = Path(__file__).parents[2]
METHODS: dict[str, tuple[str, str]] = {
    'atrc': ('atrc_mbv2_1xb4-2k_nyuv2-288x384', ''),
    'baselines': ('multi-task_mbv2_1xb4-2k_nyuv2-288x384', ''),
    'cross_stitch': ('cross-stitch_segnet_1xb4-50e_nyuv2-288x384', ''),
    'flow_warp': ('flow-warp_r50-mbv2-k5_1xb4-2k_house-256x384', r'mmmtl\.dis_flow|float32'),
    'mila': ('mila_tiny-k5_1xb8-demo_synthetic-64x128', ''),
    'mtan': ('mtan_segnet_1xb4-50e_nyuv2-288x384', ''),
    'mti_net': ('mti-net_mbv2_1xb4-2k_nyuv2-288x384', ''),
    'multinet_pp': ('multinet-pp_r50-mbv2-k5_1xb4-2k_house-256x384', ''),
    'nddr_cnn': ('nddr-cnn_hrnet18_1xb10-100e_nyuv2-480x640', ''),
    'pad_net': ('pad-net_mbv2_1xb4-2k_nyuv2-288x384', ''),
    'sca': ('sca_mbv2_1xb4-2k_nyuv2-288x384', ''),
    'svc': ('svc_r50-mbv2-k5_1xb4-2k_house-256x384', ''),
}
"""{folder of configs: (a config, what its refusal says; empty if it can be exported)}."""
LIMIT = '1e-5'
LIMITS = {'cross_stitch': '2e-2', 'mtan': '2e-2'}
"""Larger errors of SegNets: if the two largest values of a pooled window are nearly equal, rounding decides which place
unpooling fills."""


def test_every_method_is_here() -> None:
    folders = {path.parent.name for path in (ROOT / 'configs').glob('*/metafile.yml')}
    assert folders == set(METHODS)
    text = (ROOT / 'docs' / 'export.md').read_text()
    for folder, (_, refusal) in METHODS.items():
        limit = 'not: ' if refusal else rf'.* \| {LIMITS.get(folder, LIMIT)}\b'
        assert re.search(rf'^\| `configs/{folder}` \| {limit}', text, re.MULTILINE), folder


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:no checkpoint')
@pytest.mark.parametrize('folder', METHODS)
def test_methods_are_exported(folder: str, tmp_path: Path) -> None:
    pytest.importorskip('onnxscript')
    config, refusal = METHODS[folder]
    torch.manual_seed(0)  # the weights are random
    inferencer = MultiTaskInferencer(ROOT / 'configs' / folder / f'{config}.py', device='cpu')
    frames, size = moving(7), (64, 96)
    if refusal:
        with pytest.raises(ValueError, match=refusal):
            export_model(inferencer, tmp_path / 'out', frames, name=config, size=size)
        return
    tolerance = float(LIMITS.get(folder, LIMIT))
    done = export_model(inferencer, tmp_path / 'out', frames, name=config, size=size, tolerance=tolerance)
    print(f'{folder}: {done.found["onnx"].error}')
    assert done.found['onnx'].error.keys() == inferencer.tasks.keys()
