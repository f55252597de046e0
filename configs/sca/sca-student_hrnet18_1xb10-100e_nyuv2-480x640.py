# A student without self-attention beside the backbone, so with maps half as wide, that imitates a trained `sca`.
_base_ = './sca_hrnet18_1xb10-100e_nyuv2-480x640.py'
model = dict(
    type='StudentSegmentor',
    neck=None,
    decode_head=dict(head_blocks=1),
    teacher=dict(model={{_base_.model}}, checkpoint='work_dirs/sca_hrnet18_1xb10-100e_nyuv2-480x640/epoch_100.pth'),
    distillation=dict(type='DistillationLoss'),
)
