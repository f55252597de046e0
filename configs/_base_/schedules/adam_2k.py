# A short recipe for small data: linear warm-up, then polynomial decay.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='Adam', lr=3e-4, betas=(0.9, 0.99)), clip_grad=dict(max_norm=10.0)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=20),
    dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=False, begin=20, end=2000),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2000, val_interval=1000)
auto_scale_lr = dict(enable=False, base_batch_size=4)
log_interval = 10  # iterations
checkpoint_interval = 200  # iterations
