_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/nyuv2_480x640.py',
    '../_base_/schedules/adam_40k.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=8, sampler=dict(type='InfiniteDrawSampler'))
model = dict(decode_head=dict(type='ATRCSearchHead'))
# The architecture learns with 5e-4 and no decay, as in ATRC; the weights with the Adam of the other methods.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'.alpha': dict(lr_mult=5.0, decay_mult=0.0)}))
# On several GPUs: candidates that lost no longer run.
find_unused_parameters = True
