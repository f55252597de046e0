# What the tests of the runner train: seconds for some iterations on one core.
default_scope = 'mmmtl'
tasks = dict(
    semseg=dict(type='SemanticSegmentation', classes='synthetic'),
    depth=dict(type='DepthEstimation', max_depth=20.0, scale=4.0),
    normals=dict(type='SurfaceNormals'),
)
key_frame_interval = 5

stage = dict(
    type='mmseg.ResNet',
    depth=18,
    stem_channels=4,
    base_channels=4,
    strides=(1, 2, 1, 1),
    dilations=(1, 1, 2, 4),
    out_indices=(3,),
)
model = dict(
    type='VideoMultiTaskSegmentor',
    backbone=dict(type='AlignedBackbone', backbone=stage, channels=8),
    fast_backbone=dict(type='AlignedBackbone', backbone=stage),
    neck=dict(type='ILANeck', attention_channels=4, window=3, reduction=4),
    decode_head=dict(type='TaskConvHead', channels=(8, 8)),
    align_loss=dict(type='AdversarialAlignLoss', hidden_channels=8),
    key_frame_policy=dict(type='FixedInterval'),
)

data = dict(type='SyntheticVideo', length=15, step=3, size=(32, 64))
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='InfiniteDrawSampler', shuffle=True),
    dataset=dict(
        split='train',
        num_videos=4,
        clip=dict(offsets='random', missing='skip'),
        pipeline=[
            dict(type='LoadFrames'),
            dict(type='LoadMaps'),
            dict(type='RandomFlip'),
            dict(type='ColorJitter'),
            dict(type='PackMultiTaskInputs'),
        ],
        **data,
    ),
)
val_dataloader = dict(
    batch_size=3,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        split='val',
        num_videos=1,
        test_mode=True,
        clip=dict(offsets='all', missing='skip'),
        pipeline=[dict(type='LoadFrames'), dict(type='LoadMaps'), dict(type='PackMultiTaskInputs')],
        **data,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MultiTaskMetric', details=False)
test_evaluator = dict(type='MultiTaskMetric')

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='Adam', lr=2e-3), clip_grad=dict(type='norm', max_norm=10.0)
)
param_scheduler = [dict(type='PolyLR', power=0.9, by_epoch=False, begin=0, end=12)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=12, val_interval=100)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
    checkpoint=dict(
        type='CheckpointHook', by_epoch=False, interval=4, max_keep_ckpts=2, backend_args=dict(backend='atomic_local')
    ),
    visualization=dict(type='MultiTaskVisualizationHook'),
)
log_processor = dict(by_epoch=False)
env_cfg = dict(dist_cfg=dict(backend='gloo'))
visualizer = dict(type='MultiTaskVisualizer', vis_backends=[dict(type='LocalVisBackend')])
randomness = dict(seed=0)
