# Images of NYU Depth v2 in the pack's own size, scored in the usual window. No train label has class `otherprop`; the
# normals are derived from the depth (the pack's derive_normals.py), so they are pseudo ground truth.
tasks = dict(
    semseg=dict(type='SemanticSegmentation', classes='nyuv2_40', unscored=['otherprop'], loss_weight=1.0),
    depth=dict(type='DepthEstimation', max_depth=10.0, primary_metric='rmse', loss_weight=1.0),
    # 10 for a mean over x, y and z; our loss sums them, see docs/datasets.md.
    normals=dict(type='SurfaceNormals', loss_weight=10 / 3),
)

data_root = 'data/nyuv2_384x288'
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
    dict(type='Resize', size=(288, 384), maps=False),
    dict(type='PackMultiTaskInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='InfiniteDrawSampler', shuffle=True),
    dataset=dict(type='NYUv2', data_root=data_root, split='train', clip=None, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='NYUv2',
        data_root=data_root,
        split='test',
        evaluation_window=True,
        test_mode=True,
        clip=None,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MultiTaskMetric', details=False)
test_evaluator = dict(type='MultiTaskMetric')
