model = dict(
    type='MultiTaskSegmentor',
    backbone=dict(type='SegNet'),
    decode_head=dict(type='TaskConvHead', channels=(64, 64)),
)
