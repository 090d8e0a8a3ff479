#!/bin/bash
# A run in four shards by GNU parallel, then the merged run. With --sshloginfile NODES, the
# shards run on other machines; the folder of the runs must be shared.
set -euo pipefail

shards=${SHARDS:-4}
run=${RUN:-runs/parallel}

seq "$shards" | parallel --jobs "$shards" --halt never \
  fixfly run django --policy retrieval --jobs 1 --shard "{}/$shards" -o "$run/shard-{}"
fixfly merge-runs "$run"/shard-* -o "$run/all"
