_base_ = './multi-task_d101_1xb4-50e_nyuv2-288x384.py'
use_tasks = ['semseg']
