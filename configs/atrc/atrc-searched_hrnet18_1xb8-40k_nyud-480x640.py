# All four tasks, with the contexts that ATRC's authors found for them.
_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/nyud_480x640.py',
    '../_base_/schedules/sgd_40k.py',
    '../_base_/default_runtime.py',
    './genotypes/atrc_nyud_hrnet18.json',
]
use_tasks = None
# ATRC's weight of the normals is for a loss that is summed over x, y and z, like ours.
tasks = dict(depth=dict(prediction_range=(0.0, None)), normals=dict(loss_weight=10.0), edge=dict(pos_weight=0.8))
train_dataloader = dict(batch_size=8, sampler=dict(type='InfiniteDrawSampler'))
model = dict(decode_head=dict(type='ATRCHead', contexts={{_base_.data}}))
