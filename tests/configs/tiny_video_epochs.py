# Three epochs of seven batches.
_base_ = './tiny_video.py'
train_dataloader = dict(sampler=dict(type='EpochDrawSampler'), dataset=dict(num_videos=5))
param_scheduler = [dict(type='PolyLR', power=0.9, by_epoch=True, begin=0, end=3)]
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=3, val_interval=100)
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
log_processor = dict(by_epoch=True)
