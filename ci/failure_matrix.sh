#!/usr/bin/env bash
# Every failure of docs/reliability.md, the slow ones too, on local-cluster and on a standalone cluster of two workers. Prints the
# times as a table; fifty trainings in one JVM, too. Needs what ci/build.sh made; takes about fifteen minutes.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
use_venv_spark
PORT=${CAFFE_MATRIX_PORT:-17177}
work=$(mktemp -d)
times=$work/times.tsv
daemons=()
# shellcheck disable=SC2317  # the trap calls it
finish() {
  [ ${#daemons[@]} -eq 0 ] || kill "${daemons[@]}" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

run() { # run MASTER: the suites there
  say "failures on $1"
  mkdir -p "$work/tmp"
  CAFFE_TEST_MASTER=$1 CAFFE_FAILURES=all CAFFE_FAILURE_TIMES=$times mvn -B -q -f "$ROOT/pom.xml" -pl jvm/spark -am \
    -Dcaffe.native.dir="$BUILD/stage/jar" -Dtest.tmpdir="$work/tmp" \
    -Dsuites=com.yahoo.ml.caffe.FailureSuite,com.yahoo.ml.caffe.ResumeSuite,com.yahoo.ml.caffe.LivesSuite verify
}

start() { # start NAME CLASS ARGUMENTS...: a daemon of Spark's
  local name=$1
  shift
  SPARK_DAEMON_MEMORY=256m "$SPARK_HOME/bin/spark-class" "$@" >"$work/$name.log" 2>&1 &
  daemons+=($!)
}

code=0
run 'local-cluster[2,1,1024]' || code=1
start master org.apache.spark.deploy.master.Master --host 127.0.0.1 --port "$PORT" --webui-port $((PORT + 1))
for i in 1 2; do
  start "worker$i" org.apache.spark.deploy.worker.Worker --host 127.0.0.1 --cores 1 --memory 1g --webui-port $((PORT + 1 + i)) \
    --work-dir "$work/worker$i" "spark://127.0.0.1:$PORT"
done
for _ in $(seq 120); do
  [ "$(grep -c 'Registering worker' "$work/master.log" || true)" -ge 2 ] && break
  sleep 0.5
done
run "spark://127.0.0.1:$PORT" || code=1

echo "| cluster | failure | noticed after | ended after |"
echo "|---|---|---|---|"
sort "$times" | awk -F'\t' '{ printf "| %s | %s | %s | %s |\n", $1, $2, $3, $4 }'
exit $code
