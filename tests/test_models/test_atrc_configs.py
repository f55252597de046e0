"""ATRC's configs: what each costs, and how a genotype comes in."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from mmmtl.config import load_config, resolve
from mmmtl.models.decode_heads.atrc import LabelContext, LocalContext, read_genotype
from mmmtl.profiling import build_on_meta, count_cost

CONFIGS = Path(__file__).parents[2] / 'configs' / 'atrc'
RECIPE = '_hrnet18_1xb8-40k_nyuv2-480x640.py'


@pytest.mark.parametrize(
    ('kind', 'contexts', 'label_space', 'params', 'gmac'),
    [
        ('global', 0.846, 0.0, 4.253, 17.426),
        pytest.param('local', 1.087, 0.0, 4.253, 17.667, marks=pytest.mark.slow),
        ('target_label', 0.663, 3.214, 4.422, 20.456),
        pytest.param('source_label', 0.663, 3.214, 4.422, 20.456, marks=pytest.mark.slow),
    ],
)
def test_what_they_cost(kind: str, contexts: float, label_space: float, params: float, gmac: float) -> None:
    cfg = Config.fromfile(CONFIGS / f'atrc{RECIPE}')
    if kind != 'global':  # the default
        cfg.model.decode_head.contexts = kind
    cost = count_cost(build_on_meta(cfg), (480, 640))
    found = {part: cost.total(f'decode_head.{part}').macs['image'] / 1e9 for part in ('contexts', 'label_space')}
    assert found == pytest.approx(dict(contexts=contexts, label_space=label_space), abs=6e-4)
    assert cost.total().params / 1e6 == pytest.approx(params, abs=6e-4)
    assert cost.total().macs['image'] / 1e9 == pytest.approx(gmac, abs=6e-4)
    readme = (CONFIGS / 'README.md').read_text()
    assert f'{kind}`' in readme and f'{params:.2f}' in readme and f'{gmac:.2f}' in readme


def test_the_search_has_learning_rates_of_its_own() -> None:
    cfg = Config.fromfile(CONFIGS / f'atrc-search{RECIPE}')
    model = build_on_meta(cfg)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    rate_of = {id(p): (group['lr'], group['weight_decay']) for group in groups for p in group['params']}
    rates = {name: rate_of[id(p)] for name, p in model.named_parameters()}
    choices = [f'decode_head.contexts.{t}.{s}.alpha' for t in ('semseg', 'depth') for s in ('semseg', 'depth')]
    assert {name for name, rate in rates.items() if rate != (1e-4, 1e-4)} == set(choices)
    assert {rates[name] for name in choices} == {(5e-4, 0.0)}
    with pytest.raises(ValueError, match=r"contexts='genotype\.json'"):
        count_cost(model, (480, 640))


def test_what_contexts_cost_by_hand() -> None:
    """67 to 33 channels at 120 x 160: 5 projections, then the attention."""
    pairs, places = 4, 120 * 160
    projections = 3 * 67 * 33 + 2 * 33 * 33
    assert round(pairs * places * (projections + 2 * 33 * 33 + 33) / 1e9, 3) == 0.846
    assert round(pairs * places * (projections + 2 * 33 * 81) / 1e9, 3) == 1.087


def test_a_genotype_replaces_the_type_of_the_config(tmp_path: Path) -> None:
    """The example of the README."""
    text = (CONFIGS / 'README.md').read_text().split('```json')[1].split('```')[0]
    assert set(json.loads(text)) == {'semseg', 'depth'}
    (tmp_path / 'genotype.json').write_text(text)
    cfg = Config.fromfile(CONFIGS / f'atrc{RECIPE}')
    cfg.merge_from_dict({'model.decode_head.contexts': str(tmp_path / 'genotype.json')})
    head = build_on_meta(cfg).decode_head
    assert isinstance(head.contexts['semseg']['depth'], LabelContext)
    assert isinstance(head.contexts['depth']['depth'], LocalContext)
    assert list(head.label_space) == ['semseg']


SEARCHED = [
    (
        'nyud_hrnet18',
        'hrnet18_1xb8-40k_nyud-480x640',
        5.061,
        32.036,
        {'global': 1, 'target_label': 8, 'source_label': 7},
    ),
    pytest.param(
        'nyud_hrnet48',
        'hrnet48_1xb8-40k_nyud-480x640',
        72.479,
        230.661,
        {'none': 2, 'global': 4, 'target_label': 5, 'source_label': 5},
        marks=pytest.mark.slow,
    ),
    (
        'pascal_hrnet18',
        'hrnet18_1xb8-40k_pascal-512x512',
        5.383,
        31.653,
        {'none': 1, 'global': 1, 'target_label': 17, 'source_label': 6},
    ),
]


@pytest.mark.parametrize(('file', 'name', 'params', 'gmac', 'kinds'), SEARCHED)
def test_the_genotypes_of_atrc(
    file: str,
    name: str,
    params: float,
    gmac: float,
    kinds: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = resolve(load_config(CONFIGS / f'atrc-searched_{name}.py'))
    genotype = read_genotype(str(CONFIGS / 'genotypes' / f'atrc_{file}.json'), cfg.tasks)
    assert read_genotype(cfg.model.decode_head.contexts, cfg.tasks) == genotype
    # A run stores its config, which then needs no other file.
    cfg.dump('run.py')
    assert load_config('run.py').model.decode_head.contexts == cfg.model.decode_head.contexts

    assert Counter(kind for row in genotype.values() for kind in row.values()) == kinds
    labels = kinds['target_label'] + kinds['source_label']
    pairs = f'{len(cfg.tasks)}: {len(cfg.tasks) ** 2} pairs | {kinds.get("none", 0)} | {kinds["global"]} | 0 | {labels}'
    readme = (CONFIGS / 'README.md').read_text()
    assert f'| `{name}` | {pairs} |' in readme
    assert f'{params:.2f} | {gmac:.2f} |' in readme
    size = tuple(map(int, name.rpartition('-')[2].split('x')))
    cost = count_cost(build_on_meta(cfg), size).total()
    assert cost.params / 1e6 == pytest.approx(params, abs=6e-4)
    assert cost.macs['image'] / 1e9 == pytest.approx(gmac, abs=6e-4)


def test_a_genotype_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r'absent\.json'):
        read_genotype('absent.json', ['semseg'])
