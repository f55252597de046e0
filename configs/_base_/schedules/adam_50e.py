# The recipe of MILA, section 4.1.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.99)))
param_scheduler = []
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50, val_interval=5)
auto_scale_lr = dict(enable=False, base_batch_size=4)
log_interval = 50  # iterations
checkpoint_interval = 1  # epochs
