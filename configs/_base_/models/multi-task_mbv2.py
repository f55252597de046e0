model = dict(
    type='MultiTaskSegmentor',
    backbone=dict(
        type='AlignedBackbone',
        backbone=dict(
            type='MobileNetV2',
            output_stride=16,
            out_indices=(6,),
            init_cfg=dict(type='Pretrained', checkpoint='data/weights/mobilenet_v2_imagenet.pth'),
        ),
        channels=128,
    ),
    decode_head=dict(type='TaskConvHead', channels=(128, 128)),
)
