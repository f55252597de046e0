_base_ = [
    '../../../configs/_base_/models/mila_tiny.py',
    '../../../configs/_base_/datasets/synthetic_video_64x128.py',
    '../../../configs/_base_/schedules/adam_demo.py',
    '../../../configs/_base_/default_runtime.py',
]
custom_imports = dict(imports=['projects.example_project.boundary_detection', 'projects.example_project.heads'])

# A fourth task beside those of the data set, from the labels of the first; nothing else needs to know.
tasks = dict(boundary=dict(type='BoundaryDetection', source='semseg'))
model = dict(decode_head=dict(type='SharedTrunkHead'))
