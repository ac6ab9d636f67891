#!/bin/bash
# Two machines that see one folder and reach each other by ssh, without any cluster:
#   docs/cluster/two_machines.sh node1 node2 configs/mine.py /shared/runs/mine
# Ctrl-C here lets both save and leave.
first=$1 second=$2 config=$3 workdir=$4
here=$PWD
port=${PORT:-29500}

train() { # HOST NUMBER
  ssh -tt "$1" "cd '$here' && exec env JAX_COORDINATOR_ADDRESS=$first:$port \
    JAX_NUM_PROCESSES=2 JAX_PROCESS_ID=$2 \
    .venv/bin/python train.py --config='$config' --workdir='$workdir'"
}

train "$second" 1 > "${workdir##*/}-1.log" 2>&1 &
train "$first" 0
status=$?
wait || status=$?
exit "$status"
