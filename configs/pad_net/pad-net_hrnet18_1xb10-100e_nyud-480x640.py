_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/nyud_480x640.py',
    '../_base_/schedules/adam_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(decode_head=dict(type='PADNetHead', exchange=dict(type='SpatialAttention')))
