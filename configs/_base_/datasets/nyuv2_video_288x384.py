tasks = dict(
    semseg=dict(type='SemanticSegmentation', classes='nyuv2_13', loss_weight=1.0),
    # Predictions are not clamped, as in MTAN's code.
    depth=dict(type='DepthEstimation', max_depth=10.0, prediction_range=(None, None), loss_weight=1.0),
    normals=dict(type='SurfaceNormals', loss_weight=1.0),
)
key_frame_interval = 5

# Labelled frames of NYU Depth v2 with the raw frames before them, as a VideoFolder.
data_root = 'data/nyuv2_video'
train_pipeline = [
    dict(type='LoadFrames'),
    dict(type='LoadMaps'),
    dict(type='Resize', size=(288, 384)),
    dict(type='RandomZoom', zooms=(1.0, 1.2, 1.5)),
    dict(type='RandomFlip'),
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [
    dict(type='LoadFrames'),
    dict(type='LoadMaps'),
    dict(type='Resize', size=(288, 384)),
    dict(type='PackMultiTaskInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='EpochDrawSampler', shuffle=True),
    dataset=dict(
        type='VideoFolder',
        data_root=data_root,
        split='train',
        clip=dict(offsets='random', missing='repeat'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='VideoFolder',
        data_root=data_root,
        split='test',
        test_mode=True,
        clip=dict(offsets='all', missing='repeat'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
# `per_image/...` are the scores nearest to MILA's and MTAN's numbers; docs/video.md says what differs.
val_evaluator = dict(type='MultiTaskMetric', details=False, per_image=True)
test_evaluator = dict(type='MultiTaskMetric', per_image=True)
