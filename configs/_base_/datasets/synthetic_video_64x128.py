tasks = dict(
    semseg=dict(type='SemanticSegmentation', classes='synthetic', loss_weight=1.0),
    depth=dict(type='DepthEstimation', max_depth=20.0, scale=4.0, loss_weight=0.3),
    normals=dict(type='SurfaceNormals', loss_weight=1.0),
)
key_frame_interval = 5

train_pipeline = [
    dict(type='LoadFrames'),
    dict(type='LoadMaps'),
    dict(type='RandomFlip'),
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [
    dict(type='LoadFrames'),
    dict(type='LoadMaps'),
    dict(type='Resize', size=(64, 128)),
    dict(type='PackMultiTaskInputs'),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='InfiniteDrawSampler', shuffle=True),
    dataset=dict(
        type='SyntheticVideo',
        split='train',
        num_videos=100,
        length=20,
        step=3,
        size=(64, 128),
        clip=dict(offsets='random', missing='skip', no_history=0.1),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=10,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='SyntheticVideo',
        split='val',
        num_videos=16,
        length=20,
        step=5,
        size=(64, 128),
        test_mode=True,
        clip=dict(offsets='all', missing='skip'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MultiTaskMetric', details=False)
test_evaluator = dict(type='MultiTaskMetric')
