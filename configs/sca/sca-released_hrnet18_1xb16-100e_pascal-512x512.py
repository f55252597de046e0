# The released code on PASCAL-Context with two tasks, table 3. It weighs the mean over x, y and z by 40; we sum them.
_base_ = './sca_hrnet18_1xb16-100e_pascal-512x512.py'
use_tasks = ['semseg', 'normals']
tasks = dict(semseg=dict(loss_weight=1.1), normals=dict(loss_weight=40 / 3))
model = dict(
    neck=dict(padding='zero', drop_path=0.2),
    decode_head=dict(
        fpma=dict(mask_axis='adjacent', padding='zero'),
        ctam=dict(
            fusion='basic_block', shared_fusion=True, query_convs=2, fusion_norm_cfg=dict(type='BN', momentum=0.01)
        ),
        csam=dict(source='ctam', query_convs=2),
        fpma_entry='input',
        hidden_channels='input',
        # False gives the same predictions at a lower cost.
        upsample_first=True,
    ),
)
