_base_ = './sca-released_hrnet18_1xb10-100e_nyuv2-480x640.py'
model = dict(decode_head=dict(csam=None, ctam=None, fpma=None))
