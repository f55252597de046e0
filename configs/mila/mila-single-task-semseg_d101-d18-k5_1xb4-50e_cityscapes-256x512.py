_base_ = './mila_d101-d18-k5_1xb4-50e_cityscapes-256x512.py'
tasks = dict(semseg=dict(classes='cityscapes_19', source='semseg'))
use_tasks = ['semseg']
