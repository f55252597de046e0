_base_ = ['./sca_hrnet18_1xb10-100e_nyuv2-480x640.py', '../_base_/models/sca-released.py']
tasks = dict(semseg=dict(loss_weight=1.44), depth=dict(loss_weight=1.15))
model = _base_.released
