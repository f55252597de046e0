"""Settings of hypothesis: the same inputs in every run, and as many as FUZZ says (`make fuzz N=50000`)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

LONG = 'FUZZ' in os.environ

settings.register_profile(
    'mmmtl',
    max_examples=int(os.environ.get('FUZZ', 150)),
    derandomize=not LONG,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile('mmmtl')
