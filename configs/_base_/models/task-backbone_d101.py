# The network of multi-task_d101.py with features for every task; which method parts them is said by `backbone.type`.
model = dict(
    type='MultiTaskSegmentor',
    backbone=dict(
        backbone=dict(
            type='AlignedBackbone',
            backbone=dict(
                type='mmseg.ResNet',
                depth=101,
                deep_stem=True,
                stem_channels=128,
                strides=(1, 2, 1, 1),
                dilations=(1, 1, 2, 4),
                out_indices=(3,),
            ),
            in_channels=2048,
            channels=512,
        ),
    ),
    decode_head=dict(type='TaskConvHead', in_channels=512, channels=(512, 256)),
)
