#!/bin/bash
# One training over several nodes, which goes on after its time is over or its place is taken:
#   sbatch docs/cluster/slurm.sh configs/mine.py /shared/runs/mine
#SBATCH --job-name=jaxseg
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
# to the tasks, two minutes before the end; B:TERM would reach this script alone
#SBATCH --signal=TERM@120

config=$1 workdir=$2
# one task a node has all its GPUs; --ntasks-per-node=4 --gpus-per-task=1 is as well
srun --kill-on-bad-exit=1 python train.py --config="$config" --workdir="$workdir"
status=$?

# 130: a signal came, all is saved; anything else but 0 is a failure, and nothing goes on by itself
if [ "$status" = 130 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
