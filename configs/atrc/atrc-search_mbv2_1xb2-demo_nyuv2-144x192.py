# A search that a CPU finishes: small images, few iterations, and an architecture that learns as much faster as the
# schedule is shorter than ATRC's.
_base_ = [
    '../_base_/models/multi-scale_mbv2.py',
    '../_base_/datasets/nyuv2_288x384.py',
    '../_base_/default_runtime.py',
]
use_tasks = ['semseg', 'depth']
train_pipeline = _base_.train_pipeline
train_pipeline[2].size = (144, 192)
test_pipeline = _base_.test_pipeline
test_pipeline[2].size = (144, 192)
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
model = dict(decode_head=dict(type='ATRCSearchHead', dropout=0.0))
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=3e-4, weight_decay=1e-4),
    # 5e-4 * 40000 / 300 for the architecture.
    paramwise_cfg=dict(custom_keys={'.alpha': dict(lr_mult=222.0, decay_mult=0.0)}),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=301)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=300, val_interval=300)
auto_scale_lr = dict(enable=False, base_batch_size=2)
log_interval = 20  # iterations
checkpoint_interval = 500  # iterations
# On several GPUs: candidates that lost no longer run.
find_unused_parameters = True
