"""Train a head on a frozen MobileNetV2 at stride 16: with the dilations of mmseg, and with those that fit its weights.

    python benchmarks/frozen_backbone.py --seeds 0 1 2

Both backbones have the same ImageNet weights and run once over CamVid, in eval mode, so nothing in them changes. A head
is then trained on the stored maps, 200 iterations of four images, and scored on every second image of the val part.
`linear` is one 1x1 convolution; `decoder` is like that of configs/baselines, with a 3x3 convolution of its own. A seed
sets the weights of the head and the order of the images, for both backbones alike.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmmtl.evaluation.statistics import paired_difference
from mmmtl.models import MultiTaskDataPreprocessor
from mmmtl.models.backbones import as_maps
from mmmtl.registry import DATASETS, MODELS
from mmmtl.tasks import Task, build_tasks

TASKS = dict(semseg=dict(type='SemanticSegmentation', classes='camvid_11'))
INIT = dict(type='Pretrained', checkpoint='data/weights/mobilenet_v2_imagenet.pth')
BACKBONES: dict[str, dict[str, Any]] = {
    'mmseg': dict(type='mmseg.MobileNetV2', strides=(1, 2, 2, 2, 1, 1, 1), dilations=(1, 1, 1, 1, 1, 2, 2)),
    'here': dict(type='MobileNetV2', output_stride=16),
}
RATES = dict(linear=1e-2, decoder=3e-4)  # learning rates of the heads
STRIDE = 4  # of the labels in the loss
BATCH, WARM_UP = 4, 20

Maps = tuple[Tensor, Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='data/camvid_480x360', metavar='DIR')
    parser.add_argument('--heads', nargs='+', default=list(RATES), choices=RATES)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--iterations', type=int, default=200)
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    init_default_scope('mmmtl')
    tasks = build_tasks(TASKS, 'the benchmark')
    maps = {name: frozen_maps(cfg, tasks, args.data) for name, cfg in BACKBONES.items()}
    for head in args.heads:
        scores: dict[str, dict[int, float]] = {name: {} for name in BACKBONES}
        for seed in args.seeds:
            for name, (train, val) in maps.items():
                trained = fit(head, tasks['semseg'], train, seed=seed, iterations=args.iterations)
                scores[name][seed] = score(trained, tasks['semseg'], val)
                print(f'{head}, {name}, seed {seed}: mIoU {scores[name][seed]:.2f}', flush=True)
        gain = paired_difference(scores['here'], scores['mmseg'])
        assert gain is not None, 'both have every seed'
        means = ', '.join(f'{name} {statistics.mean(found.values()):.2f}' for name, found in scores.items())
        print(f'{head}: {means}, difference {gain.mean:+.2f} ± {gain.high - gain.mean:.2f} (95 %)')


def frozen_maps(cfg: dict[str, Any], tasks: dict[str, Task], root: str) -> tuple[Maps, Maps]:
    """Return the maps (M, C, h, w), float16, and the labels (M, H, W), uint8, of the train and the val images."""
    backbone = MODELS.build(dict(**cfg, out_indices=(6,), init_cfg=INIT))
    backbone.init_weights()
    backbone.eval()
    preprocessor = MultiTaskDataPreprocessor(tasks=tasks)
    pipeline = [dict(type='LoadFrames'), dict(type='LoadMaps'), dict(type='PackMultiTaskInputs')]
    found = []
    for split, step in (('train', 1), ('val', 2)):
        config = dict(type='CamVid', data_root=root, split=split, step=step, pipeline=pipeline, test_mode=True)
        dataset = DATASETS.build(dict(**config, clip=None, metainfo=dict(tasks=TASKS)))
        maps, labels = [], []
        for item in dataset:
            with torch.inference_mode():
                maps.append(as_maps(backbone(preprocessor(dict(inputs=[item['inputs']]))['inputs']))[-1][0].half())
            labels.append(item['data_samples'].gt.semseg.byte())
        found.append((torch.stack(maps).clone(), torch.stack(labels).squeeze(1)))
    train, val = found
    return train, val


def fit(kind: str, task: Task, data: Maps, *, seed: int, iterations: int) -> nn.Module:
    """Train a head on maps: Adam, warm-up, polynomial decay and gradient clipping, as the schedules `2k` have them."""
    maps, labels = data
    torch.manual_seed(seed)
    head = build_head(kind, maps.shape[1], task.out_channels)
    optimizer = torch.optim.Adam(head.parameters(), lr=RATES[kind], betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min(1.0, 0.1 + 0.9 * i / WARM_UP) * (1 - i / iterations) ** 0.9
    )
    epochs = -(-BATCH * iterations // len(maps))
    order = torch.cat([torch.randperm(len(maps)) for _ in range(epochs)])
    height, width = (side // STRIDE for side in labels.shape[1:])
    for chosen in order[: BATCH * iterations].split(BATCH):
        logits = F.interpolate(head(maps[chosen].float()), size=(height, width), mode='bilinear')
        target = labels[chosen, None, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].long()
        loss = sum(task.loss(logits, target).values(), start=torch.tensor(0.0))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    return head.eval()


def build_head(kind: str, channels: int, classes: int) -> nn.Module:
    if kind == 'linear':
        return nn.Conv2d(channels, classes, 1)
    norm = dict(type='BN')
    layers = [ConvModule(a, 128, k, padding=k // 2, norm_cfg=norm) for a, k in ((channels, 1), (128, 3), (128, 1))]
    return nn.Sequential(*layers, nn.Conv2d(128, classes, 1))


@torch.inference_mode()
def score(head: nn.Module, task: Task, data: Maps) -> float:
    """Return the mIoU in percent at the size of the labels."""
    totals = []
    for map_, labels in zip(*data, strict=True):
        logits = F.interpolate(head(map_[None].float()), size=labels.shape, mode='bilinear')
        totals.append(task.measure(task.decode(logits), labels[None, None].long()))
    return float(task.summarize(torch.stack(totals).sum(0))['mIoU'])


if __name__ == '__main__':
    main()
