# Two MobileNets at output stride 16, with 64 channels: for laptops. docs/datasets.md lists their ImageNet
# weights.
model = dict(
    type='VideoMultiTaskSegmentor',
    backbone=dict(
        type='AlignedBackbone',
        backbone=dict(
            type='MobileNetV2',
            output_stride=16,
            out_indices=(6,),
            init_cfg=dict(type='Pretrained', checkpoint='data/weights/mobilenet_v2_imagenet.pth'),
        ),
        channels=64,
    ),
    fast_backbone=dict(
        type='AlignedBackbone',
        backbone=dict(
            type='MobileNetV3Small',
            output_stride=16,
            out_indices=(12,),
            init_cfg=dict(type='Pretrained', checkpoint='data/weights/mobilenet_v3_small_imagenet.pth'),
        ),
    ),
    neck=dict(type='ILANeck'),
    decode_head=dict(type='TaskConvHead', channels=(64, 64)),
    align_loss=dict(type='AdversarialAlignLoss', hidden_channels=64, beta=0.1),
    key_frame_policy=dict(type='FixedInterval'),
)
find_unused_parameters = True
