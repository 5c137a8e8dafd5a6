#!/usr/bin/env bash
# What an installed photon-triage must do on a beamline account: smoke.sh BIN, run in an empty folder outside the checkout.
# PYTHONPATH holds folders called core, models and tui that raise when anything imports them.
set -euo pipefail
bin=$1
here=$PWD

for name in core models tui; do
    mkdir -p "$here/decoys/$name"
    echo "raise ImportError('the decoy $name was imported')" >"$here/decoys/$name/__init__.py"
done
export PYTHONPATH=$here/decoys
if "$bin/python" -c 'import core' 2>/dev/null; then
    echo "The decoys are not on the path: this run would prove nothing." >&2
    exit 1
fi

triage() {
    printf '$ photon-triage %s\n' "$*" >&2
    "$bin/photon-triage" "$@"
}

# Fails unless the JSON on stdin holds what the expression says of it.
holds() { "$bin/python" -c 'import json, sys; answer = json.load(sys.stdin); sys.exit(not eval(sys.argv[1]))' "$1"; }

triage --version
triage --help >help.txt
triage recipes
triage recipes --show spi >spi.toml
"$bin/python" -c 'import photon_triage.core as c; assert "site-packages" in c.__file__, c.__file__'

triage simulate spi beamtime --frames 200 --runs 2 --rate 0 --seed 1 --quiet
triage scan beamtime --recipe spi --session session --json >scan.json
triage metrics session --against beamtime/truth.csv --json >metrics.json
holds 'answer["simulated"] and answer["n"] > 0' <metrics.json
triage export session --format crystfel --select predicted -o list.lst --json >export.json
holds 'answer["written"] >= 0' <export.json
holds 'answer["simulated"] and answer["complete"]' <list.lst.json
triage models list --json >models.json
triage models inspect yolov2-seeds --json >inspect.json
triage simulate cryoet sections --frames 2 --runs 1 --rate 0 --seed 1 --quiet
triage scan sections --recipe cryoet --session search --json >search.json
holds 'answer["frames"] == 2 and answer["simulated"]' <search.json
triage simulate tomo slices --frames 2 --runs 1 --rate 0 --seed 1 --quiet
triage scan slices --recipe tomo --session segment --json >segment.json
holds 'answer["frames"] == 2 and answer["hits"] == 2' <segment.json
triage demo --seconds 8 --no-screen --json >demo.json
holds 'isinstance(answer, dict)' <demo.json
echo "smoke: all commands answered"
