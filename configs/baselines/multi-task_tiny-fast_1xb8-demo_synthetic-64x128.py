# The fast network of mila_tiny alone.
_base_ = [
    '../_base_/datasets/synthetic_video_64x128.py',
    '../_base_/schedules/adam_demo.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='MultiTaskSegmentor',
    backbone=dict(
        type='AlignedBackbone',
        backbone=dict(
            type='ResNet',
            depth=18,
            output_stride=8,
            stem_channels=4,
            base_channels=2,
            out_indices=(3,),
        ),
        channels=64,
    ),
    neck=dict(type='TaskSqueezeExcitation'),
    decode_head=dict(type='TaskConvHead', channels=(64, 64)),
)
