#!/usr/bin/env bash
# Makes the three imaging models anew: train_imaging.sh FOLDER. Ten minutes on two cores; 150 MB of disk.
set -euo pipefail
cd "$1"

# Of the sorted images the last sixth scores a network, and the sixth before it chooses the checkpoint.
images=() masks=() within=()
for part in 1-train 2-validate 3-test; do
    case $part in 1-train) runs=48 ;; *) runs=12 ;; esac
    for kind in tomo cryoet; do
        photon-triage simulate "$kind" "$kind/$part" --frames $((2 * runs)) --runs "$runs" --seed "10${part%%-*}" --rate 0
    done
    images+=(--images "$part") masks+=(--masks "$part/truth/masks") within+=(--within "$part/truth/masks")
done
note="Simulated data, made and read as docs/train_imaging.sh says: 96 slices of 48 runs with seed 101 to train on; 24 slices of 12 \
runs with seed 102 to choose the checkpoint; 24 slices of 12 runs with seed 103 to score. Sample and drift differ between all of these runs."

cd tomo
photon-triage train session --recipe tomo --name tomo-msd --model msd --option depth=24 \
    "${images[@]}" "${masks[@]}" --classes background,bone,corrosion,implant \
    --normalise frame --crop 192 --rate 8e-3 --iterations 1200 --note "$note"

cd ../cryoet
photon-triage train session --recipe cryoet --name membranes --model msd --option depth=24 \
    "${images[@]}" "${masks[@]}" --classes background,membrane \
    --normalise frame --crop 192 --rate 8e-3 --iterations 1000 --note "$note"

{
    head -n 1 1-train/truth/points.csv
    for part in 1-train 2-validate 3-test; do
        tail -n +2 "$part/truth/points.csv" | sed "s#^\.\./#$part/#"
    done
} > points.csv
photon-triage train session --name particles --model lenet \
    "${images[@]}" --points points.csv "${within[@]}" --classes other,particle \
    --normalise frame --iterations 1000 --note "$note"
