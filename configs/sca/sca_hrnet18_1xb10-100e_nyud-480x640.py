_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/nyud_480x640.py',
    '../_base_/schedules/adam_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    neck=dict(type='SelfAttentionNeck'),
    decode_head=dict(
        type='SCAHead',
        fpma=dict(type='FPMA'),
        ctam=dict(type='CTAM'),
        csam=dict(type='CSAM'),
    ),
)
