"""Weights of public checkpoints under the names of mmmtl."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mmmtl.checkpoint import weights_of
from mmmtl.io.checkpoints import some_names
from mmmtl.tasks.order import TaskOrder

Rule = tuple[str, str]
"""A pattern in a name, and what it becomes."""

TASK_ORDER = ('semseg', 'parts', 'saliency', 'normals', 'edge', 'depth')
"""The order in which Multi-Task-Learning-PyTorch and SCA-MTL concatenate the features of tasks, under our names."""

EPSILON = 1e-5
"""The epsilon of batch norm in PyTorch, and in our models."""


@dataclass(frozen=True)
class PublicCode:
    """Names of the weights of a model in a public repository.

    Attributes:
        rules: applied to every name, one after the other.
        unused: pattern of public weights that take no part in predictions.
        zeros: pattern of our weights that are zero because the public model does not have them.
        reversed_order: pattern of our modules that concatenate the tasks in the reverse of `TASK_ORDER`.
        epsilon: epsilon of its batch norms; the scales make up for the difference to ours, `EPSILON`.
        settings: what its checkpoints say of the model, if they say it.
    """

    rules: tuple[Rule, ...]
    unused: str = r'(?!)'
    zeros: str = r'(?!)'
    reversed_order: str = r'(?!)'
    epsilon: float = EPSILON
    settings: Mapping[str, float] = field(default_factory=dict)


# Tasks of PASCAL-Context that have another name in the configs here.
TASK_NAMES: tuple[Rule, ...] = ((r'\.human_parts\.', '.parts.'), (r'\.sal\.', '.saliency.'))
BASIC_BLOCK: tuple[Rule, ...] = (
    (r'^(decode_head\..*)\.bn(\d)\.', r'\1.conv\2.bn.'),
    (r'^(decode_head\..*)\.conv(\d)\.weight$', r'\1.conv\2.conv.weight'),
    (r'^(decode_head\..*)\.downsample\.0\.', r'\1.shortcut.conv.'),
    (r'^(decode_head\..*)\.downsample\.1\.', r'\1.shortcut.bn.'),
)
MULTI_SCALE: tuple[Rule, ...] = (
    *TASK_NAMES,
    (r'^heads\.(\w+)\.last_layer\.0\.', r'decode_head.aggregation.\1.conv.'),
    (r'^heads\.(\w+)\.last_layer\.1\.', r'decode_head.aggregation.\1.predict.0.'),
    (r'^heads\.(\w+)\.last_layer\.3\.', r'decode_head.aggregation.\1.predict.2.'),
    (r'^scale_(\d)\.refinement\.(\w+)\.', r'decode_head.heads.\1.\2.blocks.'),
    (r'^scale_(\d)\.decoders\.(\w+)\.', r'decode_head.heads.\1.\2.predict.'),
    (r'^distillation_scale_(\d)\.', r'decode_head.exchange.\1.'),
    *((rf'^fpm_scale_{scale + 1}\.', f'decode_head.propagation.{scale}.') for scale in range(3)),
    (r'^(decode_head\.propagation\.\d)\.dimensionality_reduction\.', r'\1.fuse.'),
    (r'^(decode_head\.propagation\.\d)\.se\.(\w+)\.squeeze\.', r'\1.excite.\2.gate.'),
)

MTI_NET = PublicCode(
    rules=(
        *MULTI_SCALE,
        (r'^(decode_head\.propagation\.\d)\.non_linear\.', r'\1.stage.'),
        (r'^(decode_head\.exchange\.\d)\.self_attention\.(\w+\.\w+)\.attention\.0\.', r'\1.attend.\2.gate.'),
        (r'^(decode_head\.exchange\.\d)\.self_attention\.(\w+\.\w+)\.conv\.', r'\1.attend.\2.message.'),
        *BASIC_BLOCK,
    )
)
PAD_NET = PublicCode(
    rules=(
        *TASK_NAMES,
        (r'^backbone\.0\.', 'backbone.'),
        (r'^backbone\.1\.last_layer\.0\.', 'decode_head.fuse.0.conv.'),
        (r'^backbone\.1\.last_layer\.1\.', 'decode_head.fuse.1.'),
        (r'^heads\.', 'decode_head.final.'),
        (r'^initial_task_prediction_heads\.layers\.', 'decode_head.heads.'),
        (r'^initial_task_prediction_heads\.conv_out\.', 'decode_head.preliminary.'),
        (
            r'^multi_modal_distillation\.self_attention\.(\w+\.\w+)\.attention\.0\.',
            r'decode_head.exchange.attend.\1.gate.',
        ),
        (r'^multi_modal_distillation\.self_attention\.(\w+\.\w+)\.conv\.', r'decode_head.exchange.attend.\1.message.'),
        *((rf'^(decode_head\..*)\.bn{layer + 1}\.', rf'\1.layers.{layer}.bn.') for layer in range(3)),
        *((rf'^(decode_head\..*)\.conv{layer + 1}\.', rf'\1.layers.{layer}.conv.') for layer in range(3)),
        *BASIC_BLOCK,
    )
)
SCA_MTL = PublicCode(
    rules=(
        *MULTI_SCALE,
        *((rf'^swTransform{stage + 1}\.', f'neck.stages.{stage}.') for stage in range(4)),
        (r'^(decode_head\.propagation\.\d)\.swtf\.', r'\1.stage.'),
        (r'^(decode_head\.exchange\.\d)\.cross_attention\.', r'\1.attend.'),
        (r'^(decode_head\.exchange\.\d)\.dimensionality_reduction\.', r'\1.shared_fuse.'),
        (r'^heads\.(\w+)\.cross_scale_attention(\d)\.', r'decode_head.cross_scale.\1.attend.\2.'),
        *(
            (
                rf'^heads\.(\w+)\.upsample{source}{target}\.',
                rf'decode_head.cross_scale.\1.project.{target}.{source - target - 1}.',
            )
            for target in range(3)
            for source in range(target + 1, 4)
        ),
        (r'^(decode_head\.cross_scale\..*\.project\.\d\.\d)\.0\.', r'\1.conv.'),
        (r'^(decode_head\.cross_scale\..*\.project\.\d\.\d)\.1\.', r'\1.bn.'),
        (r'\.(query|key|value)_project\.', r'.\1.'),
        (r'\.layers\.0\.blocks\.', '.blocks.'),
        (r'\.attn\.proj\.', '.attention.project.'),
        (r'\.attn\.qkv\.', '.attention.qkv.'),
        (r'\.attn\.relative_position_bias_table$', '.attention.bias'),
        (r'\.norm[01]\.', '.norm.'),
        (r'\.patch_embed\.norm\.', '.embed_norm.'),
        (r'\.patch_embed\.proj\.', '.embed.'),
        *BASIC_BLOCK,
    ),
    # An index table, and the second norm of blocks without an MLP.
    unused=r'\.attn\.relative_position_index$|\.blocks\.\d\.norm2\.(weight|bias)$',
    reversed_order=r'^decode_head\.exchange\b',
)
FLOWNET_S = PublicCode(
    rules=(
        (r'^conv([12])\.0\.', r'stages.\1.0.'),
        (r'^conv([3-6])\.0\.', r'stages.\1.0.0.'),
        (r'^conv([3-6])_1\.0\.', r'stages.\1.1.0.'),
        *((rf'^stages\.{stage + 1}\.', f'stages.{stage}.') for stage in range(6)),
        *((rf'^deconv{5 - step}\.', f'up.{step}.') for step in range(4)),
        *((rf'^upsampled_flow{6 - step}_to_{5 - step}\.', f'enlarge.{step}.') for step in range(4)),
        *((rf'^predict_flow{6 - step}\.', f'predict.{step}.') for step in range(5)),
    ),
    zeros=r'^predict\.\d\.bias$',
    settings={'div_flow': 20},
)
V2_BLOCKS = (1, 2, 3, 4, 3, 3, 1)
"""Blocks in the layers of MobileNetV2."""
MOBILENET_V2 = PublicCode(
    rules=(
        (r'^features\.0\.0\.', 'conv1.conv.'),
        (r'^features\.0\.1\.', 'conv1.bn.'),
        *(
            (rf'^features\.{1 + sum(V2_BLOCKS[:layer]) + block}\.', f'layer{layer + 1}.{block}.')
            for layer, blocks in enumerate(V2_BLOCKS)
            for block in range(blocks)
        ),
        (r'^(layer\d\.\d\.conv\.\d)\.0\.', r'\1.conv.'),
        (r'^(layer\d\.\d\.conv\.\d)\.1\.', r'\1.bn.'),
        # The last convolution of a block and its batch norm, which have a number each.
        (r'^(layer1\.0\.conv)\.1\.weight$', r'\1.1.conv.weight'),
        (r'^(layer1\.0\.conv)\.2\.', r'\1.1.bn.'),
        (r'^(layer[2-7]\.\d\.conv)\.2\.weight$', r'\1.2.conv.weight'),
        (r'^(layer[2-7]\.\d\.conv)\.3\.', r'\1.2.bn.'),
    ),
    unused=r'^(features\.18|classifier)\.',
)
V3_SMALL_PARTS = {
    '1': ('depthwise_conv', 'se', 'linear_conv'),
    '[23]': ('expand_conv', 'depthwise_conv', 'linear_conv'),
    '(?:[4-9]|1[01])': ('expand_conv', 'depthwise_conv', 'se', 'linear_conv'),
}
"""The parts of a layer of MobileNetV3-small, by a pattern of its number."""
MOBILENET_V3_SMALL = PublicCode(
    rules=(
        (r'^features\.(0|12)\.0\.', r'layer\1.conv.'),
        (r'^features\.(0|12)\.1\.', r'layer\1.bn.'),
        (r'^features\.(\d+)\.block\.', r'layer\1.'),
        *(
            (rf'^(layer{layer})\.{number}\.', rf'\1.{part}.')
            for layer, parts in V3_SMALL_PARTS.items()
            for number, part in enumerate(parts)
        ),
        (r'\.se\.fc([12])\.', r'.se.conv\1.conv.'),
        (r'_conv\.0\.', '_conv.conv.'),
        (r'_conv\.1\.', '_conv.bn.'),
    ),
    unused=r'^classifier\.',
    epsilon=1e-3,
)
IMAGE_MODELS = {'SCAHead': SCA_MTL, 'MTINetHead': MTI_NET, 'PADNetHead': PAD_NET}
"""The public code of the models with one of these decode heads."""
NETWORKS = {'FlowNetS': FLOWNET_S, 'MobileNetV2': MOBILENET_V2, 'MobileNetV3Small': MOBILENET_V3_SMALL}
"""The public code of parts of models."""


def convert_checkpoint(checkpoint: Mapping[str, Any], model: nn.Module, code: PublicCode) -> OrderedDict[str, Tensor]:
    """Return all weights of a model, from a public checkpoint (`public_weights`, `convert`).

    Raises:
        ValueError: as those do, or the checkpoint says of its model what ours is not.
    """
    for name, value in code.settings.items():
        if (found := checkpoint.get(name, value)) != value:
            raise ValueError(
                f'its model has {name}={found!r}; only weights of one with {name}={value} can be converted'
            )
    return convert(public_weights(checkpoint), model, code)


def public_weights(checkpoint: Mapping[str, Any]) -> OrderedDict[str, Tensor]:
    """Return the weights of a public checkpoint: alone, or below 'state_dict' or 'model'.

    Raises:
        ValueError: something else than tensors is there.
    """
    stored = checkpoint.get('model', checkpoint)
    weights = weights_of(stored if isinstance(stored, Mapping) else checkpoint)
    if wrong := [name for name, value in weights.items() if not isinstance(value, Tensor)]:
        raise ValueError(f'not a file of weights: {some_names(wrong)} is not a tensor')
    return weights


def convert(weights: Mapping[str, Tensor], model: nn.Module, code: PublicCode) -> OrderedDict[str, Tensor]:
    """Return all weights of a model, from those of a public checkpoint.

    Linear layers become the 1x1 convolutions of the model. What the concatenating modules need to know about the order
    of the tasks is added.

    Args:
        weights: result of `public_weights`.
        model: a model; only the names and shapes of its weights matter; it may be on the meta device.
        code: the code that the weights come from.

    Raises:
        ValueError: weights are unknown, missing or differ in shape from the model's, or the public order of a task
            is not known.
    """
    wanted = model.state_dict()
    converted: OrderedDict[str, Tensor] = OrderedDict()
    unknown, misshapen = [], []
    for name, value in weights.items():
        if re.search(code.unused, name):
            continue
        ours = name
        for pattern, replacement in code.rules:
            ours = re.sub(pattern, replacement, ours)
        if ours not in wanted or ours in converted:
            unknown.append(name)
            continue
        shape = wanted[ours].shape
        converted[ours] = value.view(shape) if shape == (*value.shape, 1, 1) else value
        if converted[ours].shape != shape:
            misshapen.append(f'{name} is {tuple(value.shape)} and not {tuple(shape)}')
    for name, module in model.named_modules():
        if isinstance(module, TaskOrder) and f'{name}.positions' in wanted:
            converted[f'{name}.positions'] = _positions(module, backwards=bool(re.search(code.reversed_order, name)))
    for name in wanted:
        if re.search(code.zeros, name) and name not in converted:
            converted[name] = torch.zeros(wanted[name].shape)
    if code.epsilon != EPSILON:
        _change_epsilon(converted, code.epsilon)
    missing = [name for name in wanted if name not in converted]
    problems = {'unknown': unknown, 'missing': missing, 'misshapen': misshapen}
    if any(problems.values()):
        parts = (f'{len(names)} {kind} ({some_names(names, most=20)})' for kind, names in problems.items() if names)
        found = '; '.join(parts)
        raise ValueError(f'the weights do not fit: {found}')
    return OrderedDict((name, converted[name]) for name in wanted)


def _change_epsilon(weights: dict[str, Tensor], epsilon: float) -> None:
    """Scale the weights of batch norms that had another epsilon, so that they compute the same with ours."""
    for name, variance in weights.items():
        norm, _, kind = name.rpartition('.')
        if kind == 'running_var' and (scale := f'{norm}.weight') in weights:
            weights[scale] = weights[scale] * ((variance + EPSILON) / (variance + epsilon)).sqrt()


def _positions(order: TaskOrder, *, backwards: bool) -> Tensor:
    if unordered := [name for name in order.sorted if name not in TASK_ORDER]:
        raise ValueError(f'the public order of the tasks {unordered} is not known; it is known of {list(TASK_ORDER)}')
    return order.encode(reversed(TASK_ORDER) if backwards else TASK_ORDER)
