from __future__ import annotations

import os

from hypothesis import settings

# Several test processes share the machine: one thread each. Set before anything imports torch or NumPy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# How long an example takes says nothing on a machine that others use too.
settings.register_profile("photon-triage", deadline=None)
settings.load_profile("photon-triage")
