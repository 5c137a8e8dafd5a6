"""`python -m photon_triage.tui`, the same as `photon-triage`."""

from __future__ import annotations

import sys

from photon_triage.tui.cli import main

if __name__ == "__main__":
    sys.exit(main())
