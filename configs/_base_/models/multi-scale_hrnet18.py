# Maps at strides 4 to 32 of HRNet-W18-small-v2, the "HRNet-18" of multi-task papers.
widths = (18, 36, 72, 144)
model = dict(
    type='MultiTaskSegmentor',
    backbone=dict(
        type='mmseg.HRNet',
        extra=dict(
            stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(2,), num_channels=(64,)),
            stage2=dict(num_modules=1, num_branches=2, block='BASIC', num_blocks=(2,) * 2, num_channels=widths[:2]),
            stage3=dict(num_modules=3, num_branches=3, block='BASIC', num_blocks=(2,) * 3, num_channels=widths[:3]),
            stage4=dict(num_modules=2, num_branches=4, block='BASIC', num_blocks=(2,) * 4, num_channels=widths),
        ),
        norm_cfg=dict(type='BN', momentum=0.01),
    ),
    decode_head=dict(type='MultiScaleHead'),
)
