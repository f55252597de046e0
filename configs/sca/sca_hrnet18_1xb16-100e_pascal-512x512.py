_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/pascal_512x512.py',
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
auto_scale_lr = dict(base_batch_size=16)
