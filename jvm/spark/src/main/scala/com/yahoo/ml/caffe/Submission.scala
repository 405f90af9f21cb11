package com.yahoo.ml.caffe

import java.util.concurrent.TimeoutException

import org.apache.spark.rdd.RDD
import org.apache.spark.{FutureAction, HashPartitioner, SparkContext, SparkException}

import scala.concurrent.Await
import scala.concurrent.duration._

/** Spark has had no room for a worker for too long. */
private[caffe] final class StalledException(message: String) extends IllegalStateException(message)

/** Training as a Spark job: one try, within which Spark itself runs the stage again a few times. */
private[caffe] final class Submission(sc: SparkContext, job: TrainJob, stage: String) {
  import Submission._

  def run(placement: Placement, rows: RDD[(Int, Array[Byte])]): Seq[WorkerReport] = {
    val own = job // this object does not travel
    val barrier = placement(rows).barrier().mapPartitions(part => Worker.run(own, part)).setName(stage)
    // The shuffle makes this a map stage: Spark runs a failed barrier map stage again, but never a barrier result stage.
    val results = barrier.map(bytes => (0, bytes)).partitionBy(new HashPartitioner(1)).values.collectAsync()
    val decoded = await(results).map(Results.decode[WorkerReport](_))
    decoded.collectFirst { case Left(failure) => failure }.foreach(failure => throw failure.exception)
    decoded.collect { case Right(report) => report }.sortBy(_.rank)
  }

  /** A barrier stage that Spark has no room for waits without a word and without an end; it is given up instead. */
  private def await(results: FutureAction[Seq[Array[Byte]]]): Seq[Array[Byte]] = {
    val (toStart, toGoOn) = (Cluster.startTimeoutSeconds(sc), Cluster.recoveryTimeoutSeconds(sc))
    var started = false
    var active = System.nanoTime()
    try {
      while (!results.isCompleted) {
        try Await.ready(results, 200.millis)
        catch { case _: TimeoutException => () }
        val (busy, begun) = state(results)
        started = started || begun
        if (busy) active = System.nanoTime()
        val limit = if (started) toGoOn else toStart
        if (!results.isCompleted && System.nanoTime() - active > limit * 1000000000L) throw stalled(started, limit)
      }
      Await.result(results, Duration.Inf)
    } finally if (!results.isCompleted) results.cancel()
  }

  private def stalled(started: Boolean, seconds: Int): Exception =
    if (started) new StalledException(s"Spark had no room for ${job.world} workers again within $seconds s")
    else new IllegalStateException(s"${job.world} workers could not be started together within $seconds s; free task " +
      s"slots, lower -clusterSize, or raise ${Cluster.StartTimeout}")

  /** (tasks run now, tasks have run) */
  private def state(results: FutureAction[_]): (Boolean, Boolean) = {
    val ids = results.jobIds.flatMap(sc.statusTracker.getJobInfo(_)).flatMap(_.stageIds())
    val stages = ids.flatMap(sc.statusTracker.getStageInfo(_))
    val active = stages.exists(_.numActiveTasks() > 0)
    (active, active || stages.exists(stage => stage.numCompletedTasks() + stage.numFailedTasks() > 0))
  }
}

private[caffe] object Submission {
  /** May another try succeed? Mistakes of configuration or data come as values and never look like this. */
  def isRecoverable(error: Throwable): Boolean = error match {
    case _: StalledException => true
    case e: SparkException => Option(e.getMessage).exists(_.contains(GivenUp))
    case _ => false
  }

  // Spark's words where a stage has failed spark.stage.maxConsecutiveAttempts times.
  private val GivenUp = "has failed the maximum allowable number of times"
}
