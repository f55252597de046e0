_base_ = '../mila/mila_d101-d18-k5_1xb4-50e_cityscapes-256x512.py'
model = dict(neck=dict(type='ConcatNeck'), align_loss=None)
