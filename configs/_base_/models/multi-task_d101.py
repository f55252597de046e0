model = dict(
    type='MultiTaskSegmentor',
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
        channels=512,
    ),
    decode_head=dict(type='TaskConvHead', channels=(512, 256)),
)
