_base_ = [
    '../_base_/models/multi-task_mbv2.py',
    '../_base_/datasets/nyuv2stills_video_288x384.py',
    '../_base_/schedules/adamw_5k.py',
    '../_base_/default_runtime.py',
]
# The slow network of mila_mbv2-mbv3 on every frame.
model = dict(backbone=dict(channels=64), decode_head=dict(channels=(64, 64)))
