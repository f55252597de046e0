tasks = dict(semseg=dict(type='SemanticSegmentation', classes='camvid_11'))
key_frame_interval = 5

data_root = 'data/camvid_480x360'
# The labelled train frames are a second apart: stills, of which StillToClip makes clips.
train_pipeline = [
    dict(type='LoadFrames'),
    dict(type='LoadMaps'),
    dict(type='Resize', size=(360, 480)),
    dict(type='StillToClip', fov=50.0, max_speed=1.0, max_turn=3.0),
    dict(type='RandomZoom', zooms=(1.0, 1.2, 1.5)),
    dict(type='RandomFlip'),
    dict(type='ColorJitter'),
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [
    dict(type='LoadFrames'),
    dict(type='LoadMaps'),
    dict(type='Resize', size=(360, 480)),
    dict(type='PackMultiTaskInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='InfiniteDrawSampler', shuffle=True),
    dataset=dict(
        type='CamVid',
        data_root=data_root,
        split='train',
        clip=dict(offsets='random', still=True, no_history=0.1),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='CamVid',
        data_root=data_root,
        split='val',
        step=2,
        test_mode=True,
        clip=dict(offsets='all', missing='skip'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MultiTaskMetric', details=False)
test_evaluator = dict(type='MultiTaskMetric')
