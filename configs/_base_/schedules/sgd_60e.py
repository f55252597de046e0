# The recipe of the single-task baselines of MTI-Net and SCA-MTL on PASCAL-Context: SGD, polynomial decay by epoch.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4))
# PolyLR reaches eta_min one epoch before `end`: so the last epoch still learns, as it does in the references.
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=True, begin=0, end=61)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=60, val_interval=10)
auto_scale_lr = dict(enable=False, base_batch_size=8)
log_interval = 20  # iterations
checkpoint_interval = 1  # epochs
