model = dict(
    type='MultiTaskSegmentor',
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
        channels=128,
    ),
    decode_head=dict(type='TaskConvHead', channels=(128, 128)),
)
