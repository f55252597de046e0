_base_ = [
    '../_base_/models/multi-scale_mbv2.py',
    '../_base_/datasets/nyuv2_288x384.py',
    '../_base_/schedules/adam_2k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    decode_head=dict(
        type='MTINetHead',
        propagation=dict(type='FPM', mask_axis='adjacent'),
        exchange=dict(type='SpatialAttention'),
    ),
)
