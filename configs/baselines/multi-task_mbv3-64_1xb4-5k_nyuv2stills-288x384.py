_base_ = ['multi-task_mbv2-64_1xb4-5k_nyuv2stills-288x384.py']
# The fast network of mila_mbv2-mbv3 on every frame.
model = dict(
    backbone=dict(
        backbone=dict(
            type='MobileNetV3Small',
            out_indices=(12,),
            init_cfg=dict(checkpoint='data/weights/mobilenet_v3_small_imagenet.pth'),
        )
    )
)
