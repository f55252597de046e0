model = dict(
    type='MultiTaskSegmentor',
    backbone=dict(type='SegNet'),
    decode_head=dict(type='TaskConvHead', in_channels=64, channels=(64, 64)),
)
