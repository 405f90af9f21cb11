package com.yahoo.ml.caffe

import java.util.concurrent.atomic.AtomicLong
import java.util.{Map => JavaMap}

import com.codahale.metrics.{Gauge, MetricRegistry}
import org.apache.spark.SparkContext
import org.apache.spark.api.plugin.{DriverPlugin, ExecutorPlugin, PluginContext, SparkPlugin}

/** Where a training run stands: at `iteration`, since the point before it. Shares are of the time of worker 0. */
private[caffe] final case class TrainingPoint(iteration: Long, loss: Double, learningRate: Double, imagesPerSecond: Double,
    dataShare: Double, communicationShare: Double) {
  def values: Seq[(String, Double)] = Seq("loss" -> loss, "learning_rate" -> learningRate,
    "images_per_second" -> imagesPerSecond, "waiting_for_data" -> dataShare, "waiting_for_workers" -> communicationShare)

  def line: String = (iteration.toString +: values.map(_._2.toString)).mkString(TrainingPoint.Mark, " ", "")
}

private[caffe] object TrainingPoint {
  val names: Seq[String] = TrainingPoint(0, 0, 0, 0, 0, 0).values.map(_._1)

  /** In front of the points among the lines of a ProgressChannel. */
  val Mark = "@point "

  def parse(line: String): Option[TrainingPoint] =
    if (!line.startsWith(Mark)) None
    else scala.util.Try {
      val fields = line.drop(Mark.length).split(' ')
      val numbers = fields.tail.map(_.toDouble)
      TrainingPoint(fields.head.toLong, numbers(0), numbers(1), numbers(2), numbers(3), numbers(4))
    }.toOption
}

/** The newest point of the training run in this JVM, and what has happened in it so far, for Spark's metrics system. */
private[caffe] object TrainingMetrics {
  @volatile var current: Option[TrainingPoint] = None
  @volatile var validation: Seq[(String, Double)] = Nil
  /** On the driver: how often training went on after a failure, and how many iterations were done again. */
  val recoveries, repeatedIterations = new AtomicLong
  /** On an executor: exchanges that ended with a lost worker or another worker's error. */
  val aborts = new AtomicLong
  private val dataNanos, workerNanos = new AtomicLong

  /** On an executor: its workers' waiting, since the executor began. */
  def waited(dataSeconds: Double, workerSeconds: Double): Unit = {
    dataNanos.addAndGet((dataSeconds * 1e9).toLong)
    workerNanos.addAndGet((workerSeconds * 1e9).toLong)
  }

  def register(registry: MetricRegistry): Unit = {
    gauge(registry, "iteration")(_.iteration.toDouble)
    TrainingPoint.names.zipWithIndex.foreach { case (name, i) => gauge(registry, name)(_.values(i)._2) }
    for ((name, count) <- Seq("recoveries" -> recoveries, "repeated_iterations" -> repeatedIterations, "aborts" -> aborts)) {
      registry.register(name, new Gauge[Long] { override def getValue: Long = count.get })
    }
    for ((name, nanos) <- Seq("waiting_for_data" -> dataNanos, "waiting_for_workers" -> workerNanos)) {
      registry.register(s"${name}_seconds", new Gauge[Double] { override def getValue: Double = nanos.get / 1e9 })
    }
    registry.register("validation_accuracy", new Gauge[Double] {
      override def getValue: Double = validation.collectFirst { case (name, value) if name.contains("acc") => value }
        .getOrElse(Double.NaN)
    })
  }

  private def gauge(registry: MetricRegistry, name: String)(value: TrainingPoint => Double): Unit =
    registry.register(name, new Gauge[Double] {
      override def getValue: Double = current.fold(Double.NaN)(value)
    })
}

/**
 * Puts the progress of training into Spark's metrics system: spark.plugins=com.yahoo.ml.caffe.CaffePlugin. The driver has
 * what worker 0 reports, every executor its own worker.
 */
class CaffePlugin extends SparkPlugin {
  override def driverPlugin(): DriverPlugin = new DriverPlugin {
    override def init(sc: SparkContext, context: PluginContext): JavaMap[String, String] = java.util.Collections.emptyMap()

    override def registerMetrics(appId: String, context: PluginContext): Unit =
      TrainingMetrics.register(context.metricRegistry())
  }

  override def executorPlugin(): ExecutorPlugin = new ExecutorPlugin {
    override def init(context: PluginContext, extra: JavaMap[String, String]): Unit =
      TrainingMetrics.register(context.metricRegistry())
  }
}
