_base_ = [
    '../_base_/models/multi-task_d101.py',
    '../_base_/datasets/cityscapes_video_256x512.py',
    '../_base_/schedules/adam_50e.py',
    '../_base_/default_runtime.py',
]
