_base_ = './multi-task_hrnet18_1xb10-100e_nyuv2-480x640.py'
use_tasks = ['semseg']
