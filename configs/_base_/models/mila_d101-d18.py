# ResNets with output stride 8 and a 128-channel deep stem, which fit the costs of MILA's tables.
dilated = dict(type='ResNet', output_stride=8, deep_stem=True, stem_channels=128, out_indices=(3,))
model = dict(
    type='VideoMultiTaskSegmentor',
    backbone=dict(type='AlignedBackbone', backbone=dict(depth=101, **dilated), channels=512),
    fast_backbone=dict(type='AlignedBackbone', backbone=dict(depth=18, **dilated)),
    neck=dict(type='ILANeck'),
    decode_head=dict(type='TaskConvHead', channels=(512, 256)),
    align_loss=dict(type='AdversarialAlignLoss', alpha=1.0, beta=1.0),
    key_frame_policy=dict(type='FixedInterval'),
)
# Whether a network runs depends on the offsets of a batch.
find_unused_parameters = True
