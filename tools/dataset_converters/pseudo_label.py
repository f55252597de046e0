"""Label your own videos with a model, for the data set `VideoFolder`: frames, a map of each task, and their units.

With a model of this package, and with any ONNX model, whose outputs are named by --outputs:
    python tools/dataset_converters/pseudo_label.py CONFIG drive.mp4 walk.mp4 --weights WEIGHTS --out data/labelled
    python tools/dataset_converters/pseudo_label.py CONFIG drive.mp4 --onnx depth.onnx --outputs predicted=depth:map \
        --out data/labelled

Of the config an ONNX model uses the tasks alone. It gets RGB images of shape (1, 3, H, W), less --mean and divided by
--std. An output is logits (1, C, h, w), which the task decodes, or, with `:map` or whole numbers, the map itself, in
the task's unit: (1, h, w) or (1, M, h, w). Maps are resized to the frames.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track

from mmmtl._output import counted
from mmmtl.apis import MultiTaskInferencer, VideoReader
from mmmtl.cli.arguments import add_config_arguments, add_shape_argument, config_of
from mmmtl.cli.errors import readable_errors
from mmmtl.cli.values import device, positive
from mmmtl.datasets.transforms.geometric import resize_map
from mmmtl.io import MapWriter, check_new_folder, check_outputs, distinct_names, resize_image
from mmmtl.io.signals import exits_at_signals
from mmmtl.structures import Array
from mmmtl.tasks import Task, build_tasks, main_tasks

Maps = dict[str, Array]
Predict = Callable[[Iterator[Array]], Iterator[tuple[Array, Maps]]]
"""From frames (H, W, 3) uint8 BGR of a video to each with its maps {task: (M, H, W)}."""

OF_ONNX = ('outputs', 'size', 'mean', 'std')
"""Options that describe an ONNX model."""

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of ImageNet, RGB."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument('videos', nargs='+', metavar='VIDEO', help='video file or folder of frames')
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument('--weights', help="weights of the config's model")
    model.add_argument('--onnx', metavar='FILE', help='an ONNX model in its place; needs onnxruntime')
    parser.add_argument('--out', required=True, metavar='DIR', help='a new or an empty folder')
    parser.add_argument('--npy', action='store_true', help='write .npy files, which hold every number')
    parser.add_argument('--max-frames', type=positive, metavar='N', help='stop after N frames of each video')
    parser.add_argument('--device', type=device, help="'cpu', 'cuda', ... (default: a GPU if available)")
    parser.add_argument('--outputs', nargs='+', metavar='OUTPUT=TASK', help='which output of the ONNX model is a task')
    add_shape_argument(parser, '--size', "height and width that the ONNX model sees (default: its own, or the frames')")
    parser.add_argument('--mean', nargs=3, type=float, default=MEAN, help='of the ONNX model, RGB (default: ImageNet)')
    parser.add_argument('--std', nargs=3, type=float, default=STD, help='of the ONNX model, RGB (default: ImageNet)')
    args = parser.parse_args()
    if not args.onnx:
        given = [f'--{name}' for name in OF_ONNX if getattr(args, name) != parser.get_default(name)]
        if given:
            parser.error(f'{", ".join(given)}: only with --onnx; otherwise the config sets this')
    return args


def main() -> None:
    args = parse_args()
    cfg = config_of(args)
    check_outputs([args.out], [*args.videos, args.config, args.weights, args.onnx])
    check_new_folder(args.out)
    if args.onnx:
        tasks, predict = onnx_model(args, build_tasks(cfg.get('tasks'), 'the config'))
    else:
        inferencer = MultiTaskInferencer(cfg, args.weights, device=args.device)
        tasks, predict = inferencer.tasks, inferencer.stream
    lost = []
    with exits_at_signals(), MapWriter(args.out, tasks, npy=args.npy) as writer:
        for video, name in zip(args.videos, distinct_names(args.videos), strict=True):
            with VideoReader(video, one_size=True) as reader:
                frames = (frame for frame, _ in itertools.islice(reader, args.max_frames))
                total = min((n for n in (reader.declared, args.max_frames) if n), default=None)
                for number, (image, maps) in enumerate(track(predict(frames), name, total=total)):
                    writer.write(name, number, image, maps)
                print(f'{name}: {reader.summary()}')
                if not reader.is_whole and args.max_frames is None:
                    lost.append(name)
    print(f'{counted(writer.lengths.total(), "frame")} with {", ".join(tasks)}: {args.out}')
    if lost:
        print(f'warning: damaged or incomplete: {", ".join(lost)}')


def onnx_model(args: argparse.Namespace, tasks: Mapping[str, Task]) -> tuple[dict[str, Task], Predict]:
    """Return the tasks of --outputs and the function that predicts them."""
    try:
        import onnxruntime
    except ImportError:
        raise SystemExit('--onnx needs onnxruntime: pip install onnxruntime') from None
    # onnxruntime has error types of its own for each kind of damage.
    try:
        session = onnxruntime.InferenceSession(args.onnx, providers=onnxruntime.get_available_providers())
    except Exception as error:
        raise SystemExit(f'{args.onnx}: not a readable ONNX model ({str(error)[:200]})') from None
    chosen = parse_outputs(args.outputs or [], [output.name for output in session.get_outputs()], main_tasks(tasks))
    if len(session.get_inputs()) != 1:
        raise SystemExit(f'{args.onnx}: {len(session.get_inputs())} inputs; only models of one image are supported')
    (model_input,) = session.get_inputs()
    fixed = [side for side in model_input.shape[2:] if isinstance(side, int)]
    size = args.size or (fixed if len(fixed) == 2 else None)
    mean, std = (np.array(values, dtype=np.float32) for values in (args.mean, args.std))

    def predict(frames: Iterator[Array]) -> Iterator[tuple[Array, Maps]]:
        for frame in frames:
            height, width = frame.shape[:2]
            seen = resize_image(frame, (size[0], size[1])) if size else frame
            inputs = ((seen[..., ::-1] - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
            found = session.run([output for output, _ in chosen.values()], {model_input.name: inputs})
            yield (
                frame,
                {
                    name: to_map(array, tasks[name], (height, width), output, decoded=decoded)
                    for (name, (output, decoded)), array in zip(chosen.items(), found, strict=True)
                },
            )

    return {name: tasks[name] for name in chosen}, predict


def parse_outputs(
    pairs: Sequence[str], outputs: Sequence[str], tasks: Mapping[str, Task]
) -> dict[str, tuple[str, bool]]:
    """Return {task: (output, whether it is a map)} of OUTPUT=TASK and OUTPUT=TASK:map; exit if one does not exist."""
    chosen: dict[str, tuple[str, bool]] = {}
    for pair in pairs:
        output, _, rest = pair.rpartition('=')
        name, _, kind = rest.partition(':')
        if output not in outputs or name not in tasks or name in chosen or kind not in ('', 'map'):
            chosen.clear()
            break
        chosen[name] = output, kind == 'map'
    if not chosen:
        raise SystemExit(
            f'--outputs must be OUTPUT=TASK or OUTPUT=TASK:map, each task once, not {" ".join(pairs) or "nothing"}; '
            f'outputs are {list(outputs)}, tasks are {list(tasks)}'
        )
    return chosen


def to_map(array: Any, task: Task, size: tuple[int, int], output: str, *, decoded: bool) -> Array:
    """Return an output of an ONNX model as a map (M, H, W) of a size; exit if it cannot be one."""
    whole = array.dtype.kind in 'iub'
    is_map = decoded or whole
    channels = task.map_channels if is_map else task.out_channels
    planes = array[:, None] if array.ndim == 3 and channels == 1 else array
    if planes.ndim != 4 or planes.shape[:2] != (1, channels):
        raise SystemExit(
            f'output {output!r} has shape {array.shape}, but {"a map" if is_map else "the logits"} of task '
            f'{task.name!r} must be (1, {channels}, h, w); check --outputs and the classes of the config'
        )
    if is_map:  # values between those of a map, such as a mean of two normals, may be no values of it
        resized = np.stack([resize_map(plane, size) for plane in planes[0]])
        resized = resized.astype(np.int64 if whole else np.float32)
        try:
            task.export(resized)
        except ValueError as error:
            raise SystemExit(f'output {output!r}: {error}') from None
        return resized
    tensor = F.interpolate(torch.from_numpy(planes).float(), size, mode='bilinear', align_corners=False)
    result: Array = task.decode(tensor)[0].numpy()
    return result


if __name__ == '__main__':
    with readable_errors():
        main()
