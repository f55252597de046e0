model = dict(
    type='MultiTaskSegmentor',
    backbone=dict(
        type='AlignedBackbone',
        backbone=dict(
            type='ResNet',
            depth=101,
            output_stride=8,
            deep_stem=True,
            stem_channels=128,
            out_indices=(3,),
        ),
        channels=512,
    ),
    decode_head=dict(type='TaskConvHead', channels=(512, 256)),
)
