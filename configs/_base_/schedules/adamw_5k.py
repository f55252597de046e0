# AdamW with linear warm-up and polynomial decay; the averaged model is validated and tested.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=5e-4, weight_decay=1e-2), clip_grad=dict(max_norm=10.0)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=False, begin=100, end=5000),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=5000, val_interval=2500)
custom_hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.002)]
auto_scale_lr = dict(enable=False, base_batch_size=4)
log_interval = 50  # iterations
checkpoint_interval = 250  # iterations
