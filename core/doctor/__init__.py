"""Whether this machine and these folders are fit for a beamtime: checks, each with a finding and advice."""

from photon_triage.core.doctor.machine import Check, State

__all__ = ["Check", "State"]
