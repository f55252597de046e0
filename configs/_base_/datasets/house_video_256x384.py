tasks = dict(
    semseg=dict(type='SemanticSegmentation', classes='house_13', loss_weight=1.0),
    depth=dict(type='DepthEstimation', max_depth=10.0, loss_weight=1.0),
    normals=dict(type='SurfaceNormals', loss_weight=1.0),
)
key_frame_interval = 5

data_root = 'data/house_video'
train_pipeline = [
    dict(type='LoadFrames'),
    dict(type='LoadMaps'),
    dict(type='Resize', size=(256, 384)),
    dict(type='RandomZoom', zooms=(1.0, 1.2, 1.5)),
    dict(type='RandomFlip'),
    dict(type='ColorJitter'),
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [
    dict(type='LoadFrames'),
    dict(type='LoadMaps'),
    dict(type='Resize', size=(256, 384)),
    dict(type='PackMultiTaskInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='InfiniteDrawSampler', shuffle=True),
    dataset=dict(
        type='VideoFolder',
        data_root=data_root,
        split='train',
        clip=dict(offsets='random', missing='skip', no_history=0.1),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='VideoFolder',
        data_root=data_root,
        split='val',
        step=4,
        test_mode=True,
        clip=dict(offsets='all', missing='skip'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MultiTaskMetric', details=False)
test_evaluator = dict(type='MultiTaskMetric')
