_base_ = [
    '../_base_/models/multi-task_r50.py',
    '../_base_/datasets/house_video_256x384.py',
    '../_base_/schedules/adam_2k.py',
    '../_base_/default_runtime.py',
]
model = dict(task_backbone=dict(type='CrossStitchBackbone'))
