# Maps at strides 4 to 32; ImageNet weights, which docs/datasets.md lists.
model = dict(
    type='MultiTaskSegmentor',
    backbone=dict(
        type='MobileNetV2',
        out_indices=(1, 2, 4, 6),
        init_cfg=dict(type='Pretrained', checkpoint='data/weights/mobilenet_v2_imagenet.pth'),
    ),
    decode_head=dict(type='MultiScaleHead'),
)
