_base_ = [
    '../_base_/models/task-backbone_d101.py',
    '../_base_/datasets/cityscapes_video_256x512.py',
    '../_base_/schedules/adam_50e.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(type='CrossStitchBackbone'))
train_dataloader = dict(dataset=dict(clip=dict(single=True)))
val_dataloader = dict(dataset=dict(clip=dict(single=True)))
test_dataloader = val_dataloader
