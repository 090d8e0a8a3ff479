#!/bin/bash
# A run in eight shards as an SGE array: qsub sge.sh
# One shard again, with the same command: qsub -t 3 sge.sh
#$ -N fixfly
#$ -t 1-8
#$ -cwd
#$ -pe smp 4
#$ -l h_rt=12:00:00
#$ -r y
#$ -j y
#$ -o fixfly-$TASK_ID.log
set -euo pipefail

shards=${SHARDS:-8} # as many as the array has
run=${RUN:-runs/array}

exec fixfly run django --policy retrieval --jobs "${NSLOTS:-1}" \
  --shard "$SGE_TASK_ID/$shards" -o "$run/shard-$SGE_TASK_ID"
