#!/bin/sh
# Runs inside an image, as its user: the commands, Python, a job in one process, and one on a standalone cluster of the image's
# daemons. The folder $1 has the digits and their network. Prints "ok WHAT" for each; stops at the first that fails.
set -eu
cd "$1"
ok() { echo "ok $*"; }

[ "$(id -u)" != 0 ] || { echo "the image runs as root" >&2; exit 1; }
ok "user $(id -u) in $PWD"
caffe device_query >device.log 2>&1
ok "caffe device_query"
python -c 'import caffe, caffeonspark; print("ok caffe", caffe.__version__, "and", caffeonspark.jar_path())'
caffe train -solver solver.prototxt >caffe.log 2>&1
ok "caffe train: $(grep -o 'accuracy = [0-9.]*' caffe.log | tail -n 1)"

export SPARK_LOCAL_IP=127.0.0.1 SPARK_LOCAL_HOSTNAME=localhost # the container's own name may not be known anywhere
submit() {
  timeout 200 caffeonspark-submit --conf spark.ui.enabled=false "$@" -train -test -conf solver.prototxt -clusterSize 2 \
    -model "file:$PWD/digits.caffemodel" -output "file:$PWD/result.txt" >submit.log 2>&1 || { tail -n 30 submit.log >&2; exit 1; }
  accuracy=$(sed -n 's/^accuracy: //p' result.txt)
  awk "BEGIN { exit !($accuracy > 0.9) }" || { echo "accuracy $accuracy, expected above 0.9" >&2; exit 1; }
}
submit --master 'local[2]'
ok "spark-submit in one process: accuracy $accuracy"

entrypoint=/opt/caffeonspark/entrypoint.sh
"$entrypoint" master --host 127.0.0.1 --port 17077 --webui-port 0 >master.log 2>&1 &
master=$!
"$entrypoint" worker spark://127.0.0.1:17077 --cores 2 --memory 2g --webui-port 0 >worker.log 2>&1 &
worker=$!
trap 'kill $master $worker' EXIT
submit --master spark://127.0.0.1:17077 --driver-memory 512m --executor-cores 1 --executor-memory 512m \
  --conf spark.executor.memoryOverhead=512m --conf spark.cores.max=2
ok "spark-submit to the image's master and worker: accuracy $accuracy"

# As Kubernetes starts an executor; here there is no driver, which it must say.
code=0
SPARK_JAVA_OPT_0=-Dspark.driver.port=1 SPARK_EXECUTOR_MEMORY=256m SPARK_EXECUTOR_CORES=1 SPARK_EXECUTOR_ID=1 \
  SPARK_DRIVER_URL=spark://CoarseGrainedScheduler@127.0.0.1:1 SPARK_APPLICATION_ID=app SPARK_EXECUTOR_POD_IP=127.0.0.1 \
  SPARK_RESOURCE_PROFILE_ID=0 SPARK_EXECUTOR_POD_NAME=pod timeout 100 "$entrypoint" executor >executor.log 2>&1 || code=$?
if ! grep -q KubernetesExecutorBackend executor.log || ! grep -q "Failed to connect to .*127.0.0.1:1" executor.log; then
  tail -n 30 executor.log >&2
  exit 1
fi
ok "executor entrypoint: ends with code $code without a driver"
