#!/bin/bash
# One training on a slice of Cloud TPU v5e of 16 chips (4 machines), by a queued resource:
#   PROJECT=mine ZONE=us-west4-a FILER=10.0.0.2:/share docs/cluster/tpu.sh configs/mine.py liver
# FILER is a Filestore instance (NFS) that every machine mounts: run folder and plans lie there.
set -e
config=$1 name=$2
at=(--project="$PROJECT" --zone="$ZONE")

gcloud compute tpus queued-resources create "$name" "${at[@]}" --node-id="$name" \
  --accelerator-type=v5litepod-16 --runtime-version=v2-alpha-tpuv5-lite --spot
until gcloud compute tpus queued-resources describe "$name" "${at[@]}" \
  --format="value(state.state)" | grep -q ACTIVE; do sleep 30; done

everywhere() {
  gcloud compute tpus tpu-vm ssh "$name" "${at[@]}" --worker=all --command="$1"
}
everywhere "git clone https://github.com/OWNER/jaxseg && cd jaxseg && python3 -m venv .venv &&
  .venv/bin/pip install -r requirements.txt 'jax[tpu]' && .venv/bin/pip install -e . --no-deps"
everywhere "sudo apt-get install -y nfs-common && sudo mkdir -p /shared && sudo mount $FILER /shared"
# JAX asks the metadata of the machines who is who; the same line again goes on after a preemption
everywhere "cd jaxseg && .venv/bin/python train.py --config=$config \
  --workdir=/shared/runs/$name --config.data.folder=/tmp/prepared"
