_base_ = './tiny_video.py'
model = dict(
    _delete_=True,
    type='MultiTaskSegmentor',
    backbone={{_base_.model.backbone}},
    decode_head=dict(type='TaskConvHead', channels=(8, 8)),
)
train_dataloader = dict(dataset=dict(clip=None))
val_dataloader = dict(dataset=dict(clip=None))
test_dataloader = val_dataloader
