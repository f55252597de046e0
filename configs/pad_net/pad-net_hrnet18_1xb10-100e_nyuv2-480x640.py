_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/nyuv2_480x640.py',
    '../_base_/schedules/adam_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    decode_head=dict(
        type='PADNetHead',
        exchange=dict(type='SpatialAttention'),
        # The order of the published code; False gives the same predictions with 1.2 of 70 GMAC less.
        upsample_first=True,
    ),
)
