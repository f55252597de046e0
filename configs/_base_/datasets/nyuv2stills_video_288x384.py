# Clips made of the stills of NYU Depth v2: the camera turns in place. Training leaves out ten blocks of ten consecutive
# images, which validate; the test scores the official images as they are, at every offset. Normals are derived from the
# depth (the pack's derive_normals.py), so they are pseudo ground truth.
tasks = dict(
    semseg=dict(type='SemanticSegmentation', source='semseg13', classes='nyuv2_13', loss_weight=1.0),
    depth=dict(type='DepthEstimation', max_depth=10.0, loss_weight=1.0),
    normals=dict(type='SurfaceNormals', loss_weight=1.0),
)
key_frame_interval = 5

data_root = 'data/nyuv2_384x288'
train_pipeline = [
    dict(type='LoadFrames'),
    dict(type='LoadMaps'),
    dict(type='Resize', size=(288, 384)),
    dict(type='StillToClip', fov=63.3),
    dict(type='RandomZoom', zooms=(1.0, 1.2, 1.5)),
    dict(type='RandomFlip'),
    dict(type='ColorJitter'),
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [
    dict(type='LoadFrames'),
    dict(type='LoadMaps'),
    dict(type='Resize', size=(288, 384)),
    dict(type='StillToClip', max_turn=0, fov=63.3),
    dict(type='PackMultiTaskInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='InfiniteDrawSampler', shuffle=True),
    dataset=dict(
        type='NYUv2',
        data_root=data_root,
        split='fit',
        clip=dict(still=True, offsets='random', no_history=0.1),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='NYUv2',
        data_root=data_root,
        split='held-out',
        evaluation_window=True,
        test_mode=True,
        clip=dict(still=True, offsets='all'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader['dataset'], split='test'))
val_evaluator = dict(type='MultiTaskMetric', details=False)
test_evaluator = dict(type='MultiTaskMetric')
