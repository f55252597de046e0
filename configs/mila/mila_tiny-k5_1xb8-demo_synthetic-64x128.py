_base_ = [
    '../_base_/models/mila_tiny.py',
    '../_base_/datasets/synthetic_video_64x128.py',
    '../_base_/schedules/adam_demo.py',
    '../_base_/default_runtime.py',
]
