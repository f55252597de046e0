_base_ = [
    '../_base_/models/mila_d101-d18.py',
    '../_base_/datasets/vspw_video_256x448.py',
    '../_base_/schedules/adam_50e.py',
    '../_base_/default_runtime.py',
]
