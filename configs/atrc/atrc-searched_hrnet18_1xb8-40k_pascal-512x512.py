# All five tasks, with the contexts that ATRC's authors found for them, and half the learning rate as in their code.
_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/pascal_512x512.py',
    '../_base_/schedules/sgd_40k.py',
    '../_base_/default_runtime.py',
    './genotypes/atrc_pascal_hrnet18.json',
]
use_tasks = None
# ATRC's weight of the normals is for a loss that is summed over x, y and z, like ours.
tasks = dict(normals=dict(loss_weight=10.0))
train_dataloader = dict(batch_size=8, sampler=dict(type='InfiniteDrawSampler'))
optim_wrapper = dict(optimizer=dict(lr=0.005))
model = dict(decode_head=dict(type='ATRCHead', contexts={{_base_.data}}))
