_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/cityscapes_512x1024.py',
    '../_base_/schedules/adam_100e.py',
    '../_base_/default_runtime.py',
]
auto_scale_lr = dict(base_batch_size=8)
