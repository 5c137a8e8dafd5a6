#!/usr/bin/env bash
# Makes the embedded model anew: train_hitnet_spi.sh FOLDER. Two hours and more on two cores; 4 GB of disk.
set -euo pipefail
cd "$1"

photon-triage simulate spi train --frames 40000 --runs 20 --seed 1 --singles 0.25 --rate 0
photon-triage simulate spi val --frames 6000 --runs 6 --seed 2 --rate 0
photon-triage simulate spi test --frames 12000 --runs 8 --seed 3 --rate 0
for part in train val test; do
    photon-triage scan "$part" --recipe spi-presort --session "$part.session"
    photon-triage labels import "$part.session" "$part/truth.csv"
done
photon-triage train train.session --name hitnet-spi --model hitnet --validate val.session --test test.session
