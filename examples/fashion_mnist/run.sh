#!/usr/bin/env bash
# Trains LeNet on Fashion-MNIST with two Spark executors on this machine. Run `make demo`, which builds first.
# The images come from Debian's package dataset-fashion-mnist, or from the folder FASHION_MNIST.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
WORK=${CAFFE_BUILD_DIR:-$ROOT/build}/demo
IMAGES=${FASHION_MNIST:-/usr/share/datasets/fashion-mnist}
export PATH=$ROOT/.venv/bin:$PATH

[ -x "$ROOT/.venv/bin/spark-submit" ] || { echo "error: run 'make demo', which builds what this needs" >&2; exit 1; }
[ -e "$IMAGES/train-images-idx3-ubyte.gz" ] || {
  echo "error: no $IMAGES/train-images-idx3-ubyte.gz; install the Debian package dataset-fashion-mnist" >&2
  exit 1
}
mkdir -p "$WORK"
cd "$WORK"

# make_store NAME PREFIX: an LMDB of Datum records, made once.
make_store() {
  [ -e "$1/data.mdb" ] || convert_mnist_data "$IMAGES/$2-images-idx3-ubyte.gz" "$IMAGES/$2-labels-idx1-ubyte.gz" "$1"
}
make_store train_lmdb train
make_store test_lmdb t10k

# Everything that Spark writes stays in this folder, and it talks to this machine only.
export SPARK_LOCAL_IP=127.0.0.1 SPARK_LOCAL_HOSTNAME=localhost SPARK_WORKER_DIR=$WORK/spark SPARK_LOCAL_DIRS=$WORK/spark
export PYSPARK_PYTHON=$ROOT/.venv/bin/python
rm -rf spark features.parquet lenet*.caffemodel lenet*.solverstate ./*.manifest
spark-submit --master 'local-cluster[2,1,2048]' --conf spark.executor.memory=1g --conf spark.driver.memory=1g \
  --conf spark.ui.enabled=false --conf spark.driver.host=127.0.0.1 --conf spark.sql.shuffle.partitions=2 \
  --conf "spark.sql.warehouse.dir=$WORK/spark/warehouse" --conf spark.log.level=ERROR \
  --jars "$(echo "$ROOT"/dist/*.jar)" \
  "$HERE/demo.py" "$HERE/lenet_memory_solver.prototxt" "$WORK" 2
rm -rf spark
