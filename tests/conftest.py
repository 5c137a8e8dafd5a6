from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from hypothesis import settings

# Several test processes share the machine: one thread each. Set before anything imports torch or NumPy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# What is measured of networks is remembered in the user's cache: tests have one of their own.
os.environ["XDG_CACHE_HOME"] = _cache = tempfile.mkdtemp(prefix="photon-triage-cache-")
atexit.register(shutil.rmtree, _cache, ignore_errors=True)

# How long an example takes says nothing on a machine that others use too.
settings.register_profile("photon-triage", deadline=None)
settings.load_profile("photon-triage")
