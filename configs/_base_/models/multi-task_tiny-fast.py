# The fast network of mila_tiny.py alone.
model = dict(
    type='MultiTaskSegmentor',
    backbone=dict(
        type='AlignedBackbone',
        backbone=dict(
            type='mmseg.ResNet',
            depth=18,
            stem_channels=4,
            base_channels=2,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            out_indices=(3,),
        ),
        in_channels=16,
        channels=64,
    ),
    neck=dict(type='TaskSqueezeExcitation', channels=64),
    decode_head=dict(type='TaskConvHead', in_channels=64, channels=(64, 64)),
)
