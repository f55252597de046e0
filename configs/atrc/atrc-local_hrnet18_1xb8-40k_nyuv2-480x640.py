_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/nyuv2_480x640.py',
    '../_base_/schedules/sgd_40k.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=8, sampler=dict(type='InfiniteDrawSampler'))
model = dict(decode_head=dict(type='ATRCHead', contexts='local'))
