# The five tasks of PASCAL-Context and their weights since MTI-Net; three of them are used by default (table 4 of
# SCA-MTL), choose others with `use_tasks`.
tasks = dict(
    semseg=dict(type='SemanticSegmentation', classes='pascal_21', loss_weight=1.0),
    parts=dict(type='SemanticSegmentation', classes='human_parts_7', source='human_parts', loss_weight=2.0),
    saliency=dict(type='SaliencyDetection', loss_weight=5.0),
    # 10 for a mean over x, y and z; our loss sums them, see docs/datasets.md.
    normals=dict(type='SurfaceNormals', loss_weight=10 / 3),
    edge=dict(type='EdgeDetection', pos_weight=0.95, max_distance=0.0075, loss_weight=50.0),
)
use_tasks = ['semseg', 'parts', 'normals']

data_root = 'data/pascal_context'
train_pipeline = [
    dict(type='LoadFrames'),
    dict(type='LoadMaps'),
    dict(type='RandomFlip'),
    dict(type='RandomScale', scales=(0.75, 1.25)),
    dict(type='RandomRotate', max_angle=20.0, prob=1.0),
    dict(type='Resize', size=(512, 512)),
    dict(type='PackMultiTaskInputs'),
]
# Predictions are scored at the size of the labels.
test_pipeline = [
    dict(type='LoadFrames'),
    dict(type='LoadMaps'),
    dict(type='Resize', size=(512, 512), maps=False),
    dict(type='PackMultiTaskInputs'),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='EpochDrawSampler', shuffle=True),
    dataset=dict(type='PASCALContext', data_root=data_root, split='train', clip=None, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='PASCALContext', data_root=data_root, split='val', test_mode=True, clip=None, pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MultiTaskMetric', details=False)
test_evaluator = dict(type='MultiTaskMetric')
