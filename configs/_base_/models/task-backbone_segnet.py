# SegNet with features for every task; which method parts them is said by `backbone.type`.
model = dict(
    type='MultiTaskSegmentor',
    backbone=dict(backbone=dict(type='SegNet')),
    decode_head=dict(type='TaskConvHead', in_channels=64, channels=(64, 64)),
)
