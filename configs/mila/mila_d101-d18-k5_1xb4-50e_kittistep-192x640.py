_base_ = [
    '../_base_/models/mila_d101-d18.py',
    '../_base_/datasets/kittistep_video_192x640.py',
    '../_base_/schedules/adam_50e.py',
    '../_base_/default_runtime.py',
]
