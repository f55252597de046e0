_base_ = './multi-task_d101_1xb4-50e_cityscapes-256x512.py'
use_tasks = ['semseg']
