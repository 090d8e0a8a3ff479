#!/bin/bash
# A run in eight shards as a Slurm array: sbatch slurm.sh
# One shard again, with the same command: sbatch --array=3 slurm.sh
#SBATCH --job-name=fixfly
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@300
#SBATCH --output=fixfly-%a.log
#SBATCH --open-mode=append
set -euo pipefail

shards=${SHARDS:-8} # as many as the array has
run=${RUN:-runs/array}

# Seconds that running episodes have after SIGTERM; the rest is for closing sandboxes.
export FIXFLY_NOTICE=280

# `exec`, so that Slurm's signal reaches fixfly: it finishes the running episodes and stops.
exec fixfly run django --policy retrieval --jobs "${SLURM_CPUS_PER_TASK:-1}" \
  --shard "$SLURM_ARRAY_TASK_ID/$shards" -o "$run/shard-$SLURM_ARRAY_TASK_ID"
