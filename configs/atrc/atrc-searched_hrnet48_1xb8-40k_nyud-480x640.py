# On HRNet-W48, with the contexts that ATRC's authors found on it.
_base_ = [
    '../_base_/models/multi-scale_hrnet18.py',
    '../_base_/datasets/nyud_480x640.py',
    '../_base_/schedules/sgd_40k.py',
    '../_base_/default_runtime.py',
    './genotypes/atrc_nyud_hrnet48.json',
]
use_tasks = None
# ATRC's weight of the normals is for a loss that is summed over x, y and z, like ours.
tasks = dict(depth=dict(prediction_range=(0.0, None)), normals=dict(loss_weight=10.0), edge=dict(pos_weight=0.8))
train_dataloader = dict(batch_size=8, sampler=dict(type='InfiniteDrawSampler'))
widths = (48, 96, 192, 384)
model = dict(
    backbone=dict(
        extra=dict(
            stage1=dict(num_blocks=(4,)),
            stage2=dict(num_blocks=(4,) * 2, num_channels=widths[:2]),
            stage3=dict(num_modules=4, num_blocks=(4,) * 3, num_channels=widths[:3]),
            stage4=dict(num_modules=3, num_blocks=(4,) * 4, num_channels=widths),
        ),
    ),
    decode_head=dict(type='ATRCHead', contexts={{_base_.data}}),
)
