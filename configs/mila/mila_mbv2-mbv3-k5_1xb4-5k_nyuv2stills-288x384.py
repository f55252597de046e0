_base_ = [
    '../_base_/models/mila_mbv2-mbv3.py',
    '../_base_/datasets/nyuv2stills_video_288x384.py',
    '../_base_/schedules/adamw_5k.py',
    '../_base_/default_runtime.py',
]
