# Two ResNet-18 of different widths with output stride 8: small enough to train on a CPU in minutes.
stage = dict(type='ResNet', depth=18, output_stride=8, out_indices=(3,))
model = dict(
    type='VideoMultiTaskSegmentor',
    backbone=dict(type='AlignedBackbone', backbone=dict(stem_channels=32, base_channels=32, **stage), channels=64),
    fast_backbone=dict(type='AlignedBackbone', backbone=dict(stem_channels=4, base_channels=2, **stage)),
    neck=dict(type='ILANeck', attention_channels=16, window=5),
    decode_head=dict(type='TaskConvHead', channels=(64, 64)),
    align_loss=dict(type='AdversarialAlignLoss', hidden_channels=32, alpha=1.0, beta=0.1),
    key_frame_policy=dict(type='FixedInterval'),
)
find_unused_parameters = True
