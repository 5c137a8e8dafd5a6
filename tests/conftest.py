from __future__ import annotations

import os

# Several test processes share the machine: one thread each. Set before anything imports torch or NumPy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
