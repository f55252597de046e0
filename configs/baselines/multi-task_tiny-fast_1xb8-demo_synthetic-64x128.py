_base_ = [
    '../_base_/models/multi-task_tiny-fast.py',
    '../_base_/datasets/synthetic_video_64x128.py',
    '../_base_/schedules/adam_demo.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(clip=dict(single=True)))
val_dataloader = dict(dataset=dict(clip=dict(single=True)))
test_dataloader = val_dataloader
