_base_ = [
    '../_base_/models/multi-task_d101.py',
    '../_base_/datasets/nyuv2_video_288x384.py',
    '../_base_/schedules/adam_50e.py',
    '../_base_/default_runtime.py',
]
