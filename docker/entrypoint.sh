#!/bin/sh
# Starts what the container is asked for. Spark on Kubernetes asks for "driver ARGUMENTS" or "executor"; "master" and "worker
# [MASTER]" are the daemons of a standalone cluster in the foreground; everything else is a command.
set -eu

# Hadoop wants a name for the user; a cluster may choose any number for it.
if ! getent passwd "$(id -u)" >/dev/null && [ -w /etc/passwd ]; then
  echo "spark-$(id -u):x:$(id -u):0:spark:/work:/usr/sbin/nologin" >>/etc/passwd
fi

if [ -n "${CAFFEONSPARK_NOTICE:-}" ]; then
  echo "caffeonspark: $CAFFEONSPARK_NOTICE" >&2
fi

# Kubernetes sets SPARK_JAVA_OPT_0, SPARK_JAVA_OPT_1, ... one option each.
executor() {
  i=0
  while option=$(printenv "SPARK_JAVA_OPT_$i"); do
    set -- "$@" "$option"
    i=$((i + 1))
  done
  exec "${JAVA_HOME:-/usr}/bin/java" "$@" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
    -cp "${SPARK_CONF_DIR:-$SPARK_HOME/conf}:${SPARK_EXTRA_CLASSPATH:+$SPARK_EXTRA_CLASSPATH:}$SPARK_HOME/jars/*:$PWD" \
    org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
    --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" --cores "$SPARK_EXECUTOR_CORES" \
    --app-id "$SPARK_APPLICATION_ID" --hostname "$SPARK_EXECUTOR_POD_IP" \
    --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" --podName "$SPARK_EXECUTOR_POD_NAME"
}

case "${1:-}" in
  driver)
    shift
    exec spark-submit --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" \
      --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS" --deploy-mode client "$@"
    ;;
  executor)
    shift
    executor
    ;;
  master)
    shift
    exec spark-class org.apache.spark.deploy.master.Master "$@"
    ;;
  worker)
    shift
    if [ $# -eq 0 ]; then
      set -- "${SPARK_MASTER:-spark://master:7077}"
    fi
    exec spark-class org.apache.spark.deploy.worker.Worker --work-dir /tmp/spark-worker "$@"
    ;;
  *) exec "$@" ;;
esac
