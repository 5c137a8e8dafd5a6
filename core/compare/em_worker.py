"""A process of its own for spi_em_class: `python -m photon_triage.core.compare.em_worker DATA ITERATIONS SEED`.

It works in the folder of DATA, a file that `spi_em_class.config.save_config` has made, prints a line of JSON after each
iteration, and writes classes.npy, from 1 on, in the order of the CXI file's groups. spi_em_class prints, and keeps
every iteration's likelihoods; here only the last classes are kept.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def main(data: str, iterations: str, seed: str) -> None:
    """Classify, as `spi_em_class.Classifier.run` does."""
    from spi_em_class import Classifier

    class Unsaved(Classifier):  # type: ignore[misc]
        """Keeps nothing of its iterations on disk."""

        def _save_iteration(self) -> None:
            pass

    np.random.seed(int(seed))  # noqa: NPY002 -- spi_em_class draws its first models from it
    classifier = Unsaved(data)
    for iteration in range(1, int(iterations) + 1):
        classifier.run_iteration()
        print(json.dumps({"done": iteration, "mutual_information": float(classifier._get_mutual_info())}), flush=True)  # noqa: T201
    np.save(Path(data).with_name("classes.npy"), classifier.prob_vals.max(axis=1).argmax(axis=0) + 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
