#!/usr/bin/env bash
# LeNet on MNIST with Spark on this machine. usage: run.sh FOLDER [WORKERS]
# FOLDER has MNIST's four .gz files. The LMDBs, the model and the result go to build/mnist; ITERATIONS makes the run shorter.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
IMAGES=$(realpath "${1:?usage: run.sh FOLDER [WORKERS]}")
WORKERS=${2:-2}
WORK=${CAFFE_BUILD_DIR:-$ROOT/build}/mnist
export PATH=$ROOT/.venv/bin:$PATH SPARK_LOCAL_IP=127.0.0.1

[ -e "$IMAGES/train-images-idx3-ubyte.gz" ] || {
  echo "error: no train-images-idx3-ubyte.gz in $IMAGES; README.md says where MNIST's files are" >&2
  exit 1
}
mkdir -p "$WORK"
cd "$WORK"
for part in train:train test:t10k; do
  store=mnist_${part%:*}_lmdb prefix=$IMAGES/${part#*:}
  [ -e "$store/data.mdb" ] || convert_mnist_data "$prefix-images-idx3-ubyte.gz" "$prefix-labels-idx1-ubyte.gz" "$store"
done
cp "$ROOT"/data/lenet_memory_{solver,train_test}.prototxt .
sed -i "s/^max_iter: .*/max_iter: ${ITERATIONS:-1000}/" lenet_memory_solver.prototxt

caffeonspark-submit --master "local[$WORKERS]" --conf spark.ui.enabled=false --conf spark.log.level=ERROR \
  -train -test -conf lenet_memory_solver.prototxt -clusterSize "$WORKERS" \
  -model "file:$WORK/lenet.caffemodel" -output "file:$WORK/result.txt"
cat result.txt
