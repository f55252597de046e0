_base_ = './sca-released_hrnet18_1xb10-100e_nyuv2-480x640.py'
model = dict(neck=None, decode_head=dict(in_channels=(18, 36, 72, 144), csam=None, ctam=None, fpma=None))
