#!/usr/bin/env bash
# Data parallel on several machines. On each of them, with the same MAIN and its own NODE_RANK (0 is the machine MAIN):
#
#   NODES=4 NODE_RANK=0 MAIN=10.0.0.1 bash multi_node.sh TEXT FOLDER [options of gpt_script]
#
# PROCESSES is the number of processes on each machine: one per GPU.
set -euo pipefail

: "${NODES:?how many machines}" "${NODE_RANK:?number of this machine, from 0}" "${MAIN:?address of machine 0}"

exec "${PYTHON:-python}" -m torch.distributed.run \
  --nnodes "$NODES" \
  --node_rank "$NODE_RANK" \
  --nproc_per_node "${PROCESSES:-8}" \
  --rdzv_backend c10d \
  --rdzv_endpoint "$MAIN:${PORT:-29500}" \
  --rdzv_id "${JOB:-hf-llmpath}" \
  -m hf_llmpath.training.distributed.script "$@"
