# The weights learn with the Adam of the other methods, the architecture with 5e-4 and no decay, as in ATRC.
_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/nyuv2_480x640.py',
    '../_base_/default_runtime.py',
]
# ATRC's weight of the normals is for a loss that is summed over x, y and z, like ours.
tasks = dict(depth=dict(prediction_range=(0.0, None)), normals=dict(loss_weight=10.0))
train_dataloader = dict(batch_size=8, sampler=dict(type='InfiniteDrawSampler'))
model = dict(decode_head=dict(type='ATRCSearchHead', dropout=0.0))
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=1e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=10.0),
    paramwise_cfg=dict(custom_keys={'.alpha': dict(lr_mult=5.0, decay_mult=0.0)}),
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=40001)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=40000, val_interval=4000)
auto_scale_lr = dict(enable=False, base_batch_size=8)
log_interval = 50  # iterations
checkpoint_interval = 2000  # iterations
# On several GPUs: candidates that lost no longer run.
find_unused_parameters = True
