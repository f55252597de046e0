_base_ = [
    '../_base_/models/mila_r50-mbv2.py',
    '../_base_/datasets/camvid_video_360x480.py',
    '../_base_/schedules/adam_2k.py',
    '../_base_/default_runtime.py',
]
