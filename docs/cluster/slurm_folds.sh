#!/bin/bash
# The five folds of a cross-validation, a job each:
#   sbatch docs/cluster/slurm_folds.sh configs/mine.py /shared/runs/mine
# and when all have ended: jaxseg report /shared/runs/mine
#SBATCH --job-name=jaxseg-folds
#SBATCH --array=0-4
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A_%a.out
#SBATCH --signal=TERM@120

config=$1 workdir=$2
srun python train.py --config="$config" --workdir="$workdir" --fold="$SLURM_ARRAY_TASK_ID"
status=$?
if [ "$status" = 130 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
