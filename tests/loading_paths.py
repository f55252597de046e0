"""Every way of loading a checkpoint, tried with a trap and with a good file.

`python loading_paths.py MODULES FOLDER URL`: imports the modules in this order, before anything else, and writes
`verdicts.json`. URL serves FOLDER, which holds `trap.pth`. `test_safe_loading.py` runs this in fresh interpreters.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

for module in sys.argv[1].split(','):
    importlib.import_module(module)
FOLDER, URL = Path(sys.argv[2]), sys.argv[3]
CANARY = FOLDER / 'canary'
WANTED = [1.0, 2.0, 3.0]

import mmengine.runner.checkpoint as stock  # noqa: E402
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.fileio import LocalBackend, register_backend  # noqa: E402
from mmengine.model import BaseModel  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402


class Net(BaseModel):
    """A net of three weights."""

    def __init__(self, init_cfg: dict[str, Any] | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.scale = nn.Parameter(torch.zeros(3))

    def forward(self, inputs: Any, mode: str = 'tensor') -> dict[str, torch.Tensor]:
        return {'loss': 0 * self.scale.sum()}


@register_backend('petrel', force=True)
class Bucket(LocalBackend):
    """A folder that stands in for a cloud bucket."""

    def get(self, filepath: str) -> bytes:
        return (FOLDER / filepath.rpartition('/')[2]).read_bytes()


def write_good_checkpoint() -> None:
    net = Net()
    torch.save(
        {
            'state_dict': {'scale': torch.tensor(WANTED), 'part.scale': torch.tensor(WANTED)},
            'meta': {'epoch': 0, 'iter': 0},
            'message_hub': {'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}},
            'optimizer': torch.optim.SGD(net.parameters(), lr=0.1).state_dict(),
        },
        FOLDER / 'good.pth',
    )


def initialised(**more: str) -> Callable[[str], Net]:
    def load(name: str) -> Net:
        net = Net(init_cfg=dict(type='Pretrained', checkpoint=str(FOLDER / name), **more))
        net.init_weights()
        return net

    return load


def load_into(name: str) -> Net:
    net = Net()
    load_checkpoint(net, str(FOLDER / name))
    return net


def run(resume: bool) -> Callable[[str], Net]:
    def load(name: str) -> Net:
        runner = Runner(
            model=Net(),
            work_dir=str(FOLDER / 'work_dir'),
            train_dataloader=DataLoader([{'inputs': 0}]),
            train_cfg=dict(by_epoch=False, max_iters=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            load_from=str(FOLDER / name),
            resume=resume,
            log_level='ERROR',
            experiment_name=f'{name}_{resume}',
        )
        runner.train()
        return runner.model

    return load


def reloaded(name: str) -> Any:
    """Load with mmengine's module after a reload, which does not change the names imported above."""
    return importlib.reload(stock)._load_checkpoint(str(FOLDER / name))


def only_ones(module: nn.Module) -> list[float]:
    return WANTED if all((value == 1).all() for value in module.state_dict().values()) else []


def file_of(name: str, model: nn.Module, prefix: str = '') -> str:
    """Return the path of the trap, or of weights for a model that are all 1."""
    if name == 'good.pth':
        name = 'ones.pth'
        torch.save({prefix + key: torch.ones_like(value) for key, value in model.state_dict().items()}, FOLDER / name)
    return str(FOLDER / name)


def soft_sharing(name: str) -> list[float]:
    from mmmtl.models.backbones import CrossStitchBackbone
    from mmmtl.tasks import build_tasks

    init_default_scope('mmmtl')
    tasks = build_tasks({'depth': dict(type='DepthEstimation', max_depth=10.0)}, 'the test')
    cfg = dict(tasks=tasks, backbone=dict(type='SegNet', channels=(4, 5), depths=(1, 2)))
    path = file_of(name, CrossStitchBackbone(**cfg).networks['depth'], 'backbone.')
    net = CrossStitchBackbone(**cfg, pretrained={'depth': path})
    net.init_weights()
    return only_ones(net.networks)


def tiny() -> tuple[Config, nn.Module]:
    from mmmtl.config import resolve
    from mmmtl.registry import MODELS

    init_default_scope('mmmtl')
    cfg = resolve(Config.fromfile(Path(__file__).parent / 'configs' / 'tiny_image.py'))
    return cfg, MODELS.build(cfg.model)


def inferencer(name: str) -> list[float]:
    from mmmtl.apis import MultiTaskInferencer

    cfg, model = tiny()
    return only_ones(MultiTaskInferencer(cfg, file_of(name, model)).model)


def teacher(name: str) -> list[float]:
    from mmmtl.registry import MODELS

    cfg, model = tiny()
    teacher = dict(model=cfg.model, checkpoint=file_of(name, model))
    changes = dict(type='StudentSegmentor', teacher=teacher, distillation=dict(type='DistillationLoss'))
    student = MODELS.build({**cfg.model, **changes})
    student.on_train_start()
    return only_ones(student._teacher[0])


WAYS: dict[str, Callable[[str], Any]] = {
    'load_checkpoint': load_into,
    'CheckpointLoader': lambda name: CheckpointLoader.load_checkpoint(str(FOLDER / name)),
    '_load_checkpoint': lambda name: stock._load_checkpoint(str(FOLDER / name)),
    '_load_checkpoint_with_prefix': lambda name: stock._load_checkpoint_with_prefix('part', str(FOLDER / name)),
    'load_from_local': lambda name: stock.load_from_local(str(FOLDER / name), None),
    'http://': lambda name: CheckpointLoader.load_checkpoint(f'{URL}/{name}'),
    'open-mmlab://': lambda name: CheckpointLoader.load_checkpoint(f'open-mmlab://{name}'),
    's3://': lambda name: CheckpointLoader.load_checkpoint(f's3://bucket/{name}'),
    'init_cfg': initialised(),
    'init_cfg with a prefix': initialised(prefix='part.'),
    'load_from': run(resume=False),
    'resume': run(resume=True),
    'reloaded': reloaded,
    'SoftSharingBackbone.pretrained': soft_sharing,
    'inferencer': inferencer,
    'teacher': teacher,
}

OF_MMMTL = ('SoftSharingBackbone.pretrained', 'inferencer', 'teacher')


def weights(loaded: Any) -> list[float]:
    if isinstance(loaded, list):
        return loaded
    state = loaded.state_dict() if isinstance(loaded, nn.Module) else loaded.get('state_dict', loaded)
    return state['scale'].tolist()


def verdict(load: Callable[[str], Any]) -> str:
    try:
        load('trap.pth')
        refused = 'the trap was not refused'
    except Exception as error:
        refused = f'{type(error).__name__}: {error}'
    if CANARY.exists():
        CANARY.rmdir()
        return 'the trap went off'
    # Files from a bucket are buffers without a name.
    if not refused.startswith('ValueError') or ('trap.pth' not in refused and 'BytesIO' not in refused):
        return refused
    try:
        return 'safe' if weights(load('good.pth')) == WANTED else 'the good checkpoint was not loaded'
    except Exception as error:
        return f'{type(error).__name__}: {error}'


if __name__ == '__main__':
    write_good_checkpoint()
    # mmmtl's own ways would import it.
    ways = {way: load for way, load in WAYS.items() if 'mmmtl' in sys.modules or way not in OF_MMMTL}
    (FOLDER / 'verdicts.json').write_text(json.dumps({way: verdict(load) for way, load in ways.items()}))
