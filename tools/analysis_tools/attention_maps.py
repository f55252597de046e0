"""Draw where a pixel looks, and the features of every task: for an image, a frame of a video, or a test sample.

    python tools/analysis_tools/attention_maps.py CONFIG CHECKPOINT --out-dir DIR --sample 3 --point 320 180
    python tools/analysis_tools/attention_maps.py CONFIG CHECKPOINT --out-dir DIR --video drive.mp4 --frame 12

DIR gets features.png, the root mean square of the channels (figure 5 of MILA), and what the model has of these:
ila.png, the window in the earlier frames (figure 4 of MILA); ctam.png, the positions of the other tasks at each scale;
csam.png, the positions of the coarser scales; atrc.png, the context that each task takes from each, with its type.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmmtl.apis import MultiTaskInferencer, zoo_weights
from mmmtl.apis.fitting import fit_image
from mmmtl.cli.arguments import WEIGHTS_HELP, add_config_arguments, check_cli_outputs, config_of
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import device, not_negative
from mmmtl.config import resolve
from mmmtl.io import VideoReader
from mmmtl.io.image_sources import load_image
from mmmtl.registry import DATASETS
from mmmtl.structures import Array
from mmmtl.visualization.attention import FRAMES, Recording, record
from mmmtl.visualization.attention_figures import CURRENT, Scene, attention_figures, write_figures

FIGURES = ('ila', 'ctam', 'csam', 'atrc', 'features')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', nargs='?', help=WEIGHTS_HELP)
    parser.add_argument('--device', type=device, help="'cpu', 'cuda', ... (default: a GPU if available)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--image', metavar='FILE', help='draw this image')
    what.add_argument('--video', metavar='FILE', help='draw a frame of this video')
    what.add_argument('--sample', type=not_negative, default=0, help='draw this sample of the test data (default: 0)')
    parser.add_argument('--frame', type=not_negative, help='number of the frame of a video, from 0 (default: 1)')
    parser.add_argument(
        '--point',
        nargs=2,
        type=int,
        metavar=('X', 'Y'),
        help='pixel of the image as the model sees it (default: centre)',
    )
    parser.add_argument('--out-dir', required=True, metavar='DIR', help='write the figures there')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.frame is not None and not args.video:
        raise SystemExit('--frame: only a video has frames to choose from; add --video FILE')
    cfg = config_of(args)
    paths = {name: Path(args.out_dir) / f'{name}.png' for name in FIGURES}
    check_cli_outputs(cfg, [args.out_dir, *paths.values()], inputs=[args.checkpoint, args.image, args.video])
    inferencer = MultiTaskInferencer(cfg, args.checkpoint or zoo_weights(args.config), device=args.device)
    if args.image or args.video:
        frame = 1 if args.frame is None else args.frame
        source = [load_image(args.image)] if args.image else read_until(args.video, frame)
        recording, images, titles = watch_frames(inferencer, source)
    else:
        recording, images, titles = watch_sample(inferencer, cfg, args.sample)
    height, width = images[CURRENT].shape[:2]
    padded = inferencer.model.data_preprocessor.padded_size((height, width))
    point = (args.point[0], args.point[1]) if args.point else (width // 2, height // 2)
    figures = attention_figures(recording, Scene(images, titles, padded, point))
    write_figures(figures, paths)
    print(f'{args.out_dir}: {", ".join(paths[name].name for name in figures)}')
    if not recording.attentions:
        print('no attention: the model has no ILA, CTAM, CSAM or ATRC, or this frame has no earlier frame to look at')


def read_until(video: str, frame: int) -> list[Array]:
    """Return the frames of a video up to a number, from 0."""
    with VideoReader(video, one_size=True) as reader:
        frames = [image for image, _ in itertools.islice(reader, frame + 1)]
    if len(frames) <= frame:
        raise ValueError(f'{reader.name}: has {len(frames)} frames, so no --frame {frame}')
    return frames


def watch_frames(
    inferencer: MultiTaskInferencer, frames: list[Array]
) -> tuple[Recording, dict[str, Array], dict[str, str]]:
    """Predict frames (H, W, 3) uint8 BGR, a stream or one image; return what the last one did and saw."""
    *before, last = frames
    state = None
    images, titles = {}, {}
    for number, frame in enumerate(before):
        step = inferencer.step(frame, state)
        state = step.state
        name = FRAMES[0 if step.is_key else 1]
        images[name], titles[name] = as_seen(inferencer, frame), f'{name} ({number})'
    with record(inferencer.model) as recording:
        inferencer.step(last, state)
    images[CURRENT] = as_seen(inferencer, last)
    titles[CURRENT] = f'{CURRENT} ({len(before)})' if before else 'image'
    # It stands for a frame that has not been yet.
    for name in FRAMES:
        images.setdefault(name, images[CURRENT])
        titles.setdefault(name, titles[CURRENT])
    return recording, images, titles


def watch_sample(
    inferencer: MultiTaskInferencer, cfg: Config, index: int
) -> tuple[Recording, dict[str, Array], dict[str, str]]:
    """Predict a sample of the test data, an image or a clip; return what it did and saw."""
    cfg = resolve(cfg)
    init_default_scope(cfg.get('default_scope', 'mmmtl'))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    if not 0 <= index < len(dataset):
        raise ValueError(f'--sample {index}: the test data have {len(dataset)} samples, numbered from 0')
    item = dataset[index]
    model, sample = inferencer.model, item['data_samples']
    with torch.inference_mode(), record(model) as recording:
        model.test_step({'inputs': [item['inputs']], 'data_samples': [sample]})
    frames = [rgb(image.numpy().transpose(1, 2, 0)) for image in item['inputs'].reshape(-1, *item['inputs'].shape[-3:])]
    names = (*FRAMES, CURRENT)[-len(frames) :]
    images, titles = dict(zip(names, frames, strict=True)), {CURRENT: CURRENT if len(frames) > 1 else 'image'}
    if len(frames) > 1:
        times = dict(zip(FRAMES, sample.slots, strict=False))
        titles |= {name: f'{name} (t{time:+d})' for name, time in times.items() if time is not None}
    return recording, images, titles


def as_seen(inferencer: MultiTaskInferencer, image: Array) -> Array:
    """Return an image (H, W, 3) BGR as the model sees it, RGB."""
    return rgb(fit_image(image, inferencer.size, inferencer.model_size).inputs)


def rgb(image: Array) -> Array:
    return np.ascontiguousarray(image[..., ::-1])


if __name__ == '__main__':
    with readable_errors():
        main()
