default_scope = 'mmmtl'

val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# How often, and whether by epoch, follows from the schedule; mmengine adds its own hooks.
default_hooks = dict(
    logger=dict(type='LoggerHook'),
    # Two checkpoints are kept so that one is whole whenever a run is killed; `atomic_local` writes none in part.
    checkpoint=dict(type='CheckpointHook', max_keep_ckpts=2, backend_args=dict(backend='atomic_local')),
    visualization=dict(type='MultiTaskVisualizationHook', draw=False, interval=50),
)
log_processor = dict(type='LogProcessor')
env_cfg = dict(
    cudnn_benchmark=True, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl')
)
visualizer = dict(type='MultiTaskVisualizer', vis_backends=[dict(type='LocalVisBackend')])
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0)
