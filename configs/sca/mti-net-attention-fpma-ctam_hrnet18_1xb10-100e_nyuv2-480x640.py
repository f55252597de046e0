# Table 5, row 4: MTI-Net with all of SCA-MTL but CSAM, as in the released code.
_base_ = '../mti_net/mti-net_hrnet18_1xb10-100e_nyuv2-480x640.py'
tasks = dict(semseg=dict(loss_weight=1.44), depth=dict(loss_weight=1.15))
model = dict(
    neck=dict(type='SelfAttentionNeck', padding='zero', drop_path=0.2),
    decode_head=dict(
        propagation=dict(type='FPMA', padding='zero'),
        exchange=dict(
            type='CTAM',
            fusion='basic_block',
            shared_fusion=True,
            query_convs=2,
            fusion_norm_cfg=dict(type='BN', momentum=0.01),
        ),
        propagated='augmented',
    ),
)
