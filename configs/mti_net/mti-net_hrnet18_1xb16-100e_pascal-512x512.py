_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/pascal_512x512.py',
    '../_base_/schedules/adam_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    decode_head=dict(
        type='MTINetHead',
        propagation=dict(type='FPM', mask_axis='adjacent'),
        exchange=dict(type='SpatialAttention'),
    ),
)
auto_scale_lr = dict(base_batch_size=16)
