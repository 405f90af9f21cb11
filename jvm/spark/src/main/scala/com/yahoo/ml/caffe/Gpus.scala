package com.yahoo.ml.caffe

import org.apache.spark.{SparkConf, TaskContext}

/** GPUs by Spark's resource API. There is no code for them yet, so whoever asks for some is told so. */
private[caffe] object Gpus {
  val PerTask = "spark.task.resource.gpu.amount"
  val PerExecutor = "spark.executor.resource.gpu.amount"

  /** Those that Spark gave this task. */
  def of(context: TaskContext): Seq[String] = context.resources().get("gpu").toSeq.flatMap(_.addresses).sorted

  def refuse(context: TaskContext): Unit = {
    val granted = of(context)
    if (granted.nonEmpty) {
      throw new IllegalArgumentException(s"Spark gave this task the GPU(s) ${granted.mkString(", ")}, but this version computes " +
        s"on CPUs only; leave out $PerTask and $PerExecutor")
    }
  }

  /** Executors that hold GPUs which no task gets. */
  def refuseIdle(conf: SparkConf): Unit =
    if (amount(conf, PerExecutor) > 0 && amount(conf, PerTask) == 0) {
      throw new IllegalArgumentException(s"$PerExecutor is ${conf.get(PerExecutor)}, but this version computes on CPUs only; " +
        "leave it out")
    }

  private def amount(conf: SparkConf, property: String): Double = conf.getDouble(property, 0)
}
