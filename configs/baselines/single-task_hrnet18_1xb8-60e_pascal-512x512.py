# The denominator of delta_m in tables 3 and 4 of SCA-MTL; other tasks with `--tasks`.
_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/pascal_512x512.py',
    '../_base_/schedules/sgd_60e.py',
    '../_base_/default_runtime.py',
]
use_tasks = ['semseg']
train_dataloader = dict(batch_size=8)
