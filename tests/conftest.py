from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile

import pytest
from hypothesis import settings

# Several test processes share the machine: one thread each. Set before anything imports torch or NumPy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# What is measured of networks is remembered in the user's cache: tests have one of their own.
os.environ["XDG_CACHE_HOME"] = _cache = tempfile.mkdtemp(prefix="photon-triage-cache-")
atexit.register(shutil.rmtree, _cache, ignore_errors=True)

# What a test approves is approved for the tests alone.
os.environ["XDG_CONFIG_HOME"] = _config = tempfile.mkdtemp(prefix="photon-triage-config-")
atexit.register(shutil.rmtree, _config, ignore_errors=True)

# How long an example takes says nothing on a machine that others use too.
settings.register_profile("photon-triage", deadline=None)
settings.load_profile("photon-triage")


@pytest.fixture(autouse=True)
def _same_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training steps back behind other processes, which this one cannot take back for the tests that follow."""
    monkeypatch.setattr(os, "setpriority", lambda *_: None)


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    """Random weights and images are the same in every run, whatever ran before: a failure can be looked into."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests have measured (see the fixture `figure`)."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    figures = [str(value) for report in reports for name, value in report.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        for figure in figures:
            terminalreporter.write_line(figure)
