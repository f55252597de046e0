model = dict(
    type='MultiTaskSegmentor',
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
    decode_head=dict(type='TaskConvHead', channels=(128, 128)),
)
