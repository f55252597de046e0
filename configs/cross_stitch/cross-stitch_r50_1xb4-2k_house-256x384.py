_base_ = [
    '../_base_/models/task-backbone_r50.py',
    '../_base_/datasets/house_video_256x384.py',
    '../_base_/schedules/adam_2k.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(type='CrossStitchBackbone'))
train_dataloader = dict(dataset=dict(clip=dict(single=True)))
val_dataloader = dict(dataset=dict(clip=dict(single=True)))
test_dataloader = val_dataloader
