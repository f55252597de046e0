_base_ = '../mila/mila_r50-mbv2-k5_1xb4-2k_house-256x384.py'
model = dict(neck=dict(type='ConcatNeck'), align_loss=None)
