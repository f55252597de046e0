# The widths of this backbone are multiples of 8, not of the 6 heads of the neck.
_base_ = [
    '../_base_/models/multi-scale_mbv2.py',
    '../_base_/datasets/nyuv2_288x384.py',
    '../_base_/schedules/adam_2k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    neck=dict(type='SelfAttentionNeck', num_heads=8),
    decode_head=dict(
        type='SCAHead',
        fpma=dict(type='FPMA'),
        ctam=dict(type='CTAM'),
        csam=dict(type='CSAM'),
    ),
)
