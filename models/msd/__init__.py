"""Mixed-scale dense networks (Pelt & Sethian 2018): few parameters, every layer reads all earlier feature maps."""

from photon_triage.models.msd.network import MSDNet

__all__ = ["MSDNet"]
