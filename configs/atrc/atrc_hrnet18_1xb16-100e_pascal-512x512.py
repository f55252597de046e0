_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/pascal_512x512.py',
    '../_base_/schedules/adam_100e.py',
    '../_base_/default_runtime.py',
]
# ATRC's weight of the normals is for a loss that is summed over x, y and z, like ours.
tasks = dict(normals=dict(loss_weight=10.0))
model = dict(decode_head=dict(type='ATRCHead'))
auto_scale_lr = dict(base_batch_size=16)
