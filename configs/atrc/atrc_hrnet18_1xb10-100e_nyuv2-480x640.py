# With the recipe of the other methods, for a comparison of the models alone.
_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/nyuv2_480x640.py',
    '../_base_/schedules/adam_100e.py',
    '../_base_/default_runtime.py',
]
# ATRC's weight of the normals is for a loss that is summed over x, y and z, like ours.
tasks = dict(depth=dict(prediction_range=(0.0, None)), normals=dict(loss_weight=10.0))
model = dict(decode_head=dict(type='ATRCHead'))
