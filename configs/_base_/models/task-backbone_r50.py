# The network of multi-task_r50.py with features for every task; which method parts them is said by `backbone.type`.
model = dict(
    type='MultiTaskSegmentor',
    backbone=dict(
        backbone=dict(
            type='AlignedBackbone',
            backbone=dict(
                type='mmseg.ResNet',
                depth=50,
                style='caffe',
                strides=(1, 2, 2, 1),
                dilations=(1, 1, 1, 2),
                out_indices=(3,),
                init_cfg=dict(type='Pretrained', checkpoint='data/weights/resnet50_caffe_imagenet.pth'),
            ),
            in_channels=2048,
            channels=128,
        ),
    ),
    decode_head=dict(type='TaskConvHead', in_channels=128, channels=(128, 128)),
)
