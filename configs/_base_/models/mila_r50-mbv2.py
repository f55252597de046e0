# Output stride 16; ImageNet weights, which docs/datasets.md lists.
model = dict(
    type='VideoMultiTaskSegmentor',
    backbone=dict(
        type='AlignedBackbone',
        backbone=dict(
            type='ResNet',
            depth=50,
            style='caffe',
            output_stride=16,
            out_indices=(3,),
            init_cfg=dict(type='Pretrained', checkpoint='data/weights/resnet50_caffe_imagenet.pth'),
        ),
        channels=128,
    ),
    fast_backbone=dict(
        type='AlignedBackbone',
        backbone=dict(
            type='MobileNetV2',
            output_stride=16,
            out_indices=(6,),
            init_cfg=dict(type='Pretrained', checkpoint='data/weights/mobilenet_v2_imagenet.pth'),
        ),
    ),
    neck=dict(type='ILANeck'),
    decode_head=dict(type='TaskConvHead', channels=(128, 128)),
    align_loss=dict(type='AdversarialAlignLoss', hidden_channels=128),
    key_frame_policy=dict(type='FixedInterval'),
)
find_unused_parameters = True
