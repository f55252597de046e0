# The recipe of ATRC on NYUD-v2: SGD, polynomial decay by iteration.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4))
# PolyLR reaches eta_min one iteration before `end`: so the last iteration still learns, as it does in ATRC.
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=40001)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=40000, val_interval=4000)
auto_scale_lr = dict(enable=False, base_batch_size=8)
log_interval = 50  # iterations
checkpoint_interval = 2000  # iterations
