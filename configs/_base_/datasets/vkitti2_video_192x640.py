tasks = dict(
    semseg=dict(type='SemanticSegmentation', classes='vkitti_14', loss_weight=1.0),
    depth=dict(type='DepthEstimation', max_depth=80.0, loss_weight=1.0),
)
key_frame_interval = 5

data_root = 'data/vkitti2'
train_pipeline = [
    dict(type='LoadFrames'),
    dict(type='LoadMaps'),
    dict(type='Resize', size=(192, 640)),
    dict(type='RandomZoom', zooms=(1.0, 1.2, 1.5)),
    dict(type='RandomFlip'),
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [
    dict(type='LoadFrames'),
    dict(type='LoadMaps'),
    dict(type='Resize', size=(192, 640)),
    dict(type='PackMultiTaskInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='EpochDrawSampler', shuffle=True),
    dataset=dict(
        type='VirtualKITTI2',
        data_root=data_root,
        split='train',
        # Neighbouring frames hardly differ; clips have all of them.
        step=5,
        clip=dict(offsets='random', missing='skip', no_history=0.1),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='VirtualKITTI2',
        data_root=data_root,
        split='test',
        step=10,
        test_mode=True,
        clip=dict(offsets='all', missing='skip'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MultiTaskMetric', details=False)
test_evaluator = dict(type='MultiTaskMetric')
