"""Files in: what a detector file holds, its frames, and what is new in a folder.

Importing this package loads neither h5py nor tifffile: a process that reads through `FrameReader` never needs them.
"""

from __future__ import annotations

from photon_triage.core.sources.common.info import SourceInfo, Survey
from photon_triage.core.sources.process.reader import FrameReader
from photon_triage.core.sources.registry import inspect, read_frames, read_mask
from photon_triage.core.sources.watch import FolderWatch, WatchedFile

__all__ = ["FolderWatch", "FrameReader", "SourceInfo", "Survey", "WatchedFile", "inspect", "read_frames", "read_mask"]
