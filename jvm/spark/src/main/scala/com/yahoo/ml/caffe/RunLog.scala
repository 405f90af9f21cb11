package com.yahoo.ml.caffe

import org.apache.spark.scheduler._
import org.apache.spark.{ExceptionFailure, ExecutorLostFailure, SparkContext, TaskFailedReason, TaskKilled}

import scala.collection.mutable
import scala.util.Try

/**
 * What the driver knows of a training run while it goes on, from worker 0's lines and Spark's events: how far it is, what
 * is saved, what has failed. Tells each recovery in one line.
 */
private[caffe] final class RunLog(stage: String, tell: String => Unit) extends SparkListener with AutoCloseable {
  import RunLog._

  private val stages = mutable.Set.empty[Int]
  private val executors = mutable.Set.empty[String] // on which workers were started
  private var context: Option[SparkContext] = None
  private var resumes = false
  private var failure: Option[Cause] = None
  private var failedAt, reached, newest = -1L
  private var count = 0

  def follow(sc: SparkContext): Unit = {
    sc.addSparkListener(this)
    context = Some(sc)
  }

  /** Iteration of the newest checkpoint or snapshot; -1 where there is none. */
  def saved: Long = synchronized(newest)

  /** Before the first start: there is an earlier part of this run, with this checkpoint. */
  def resumeFrom(iteration: Long): Unit = synchronized {
    newest = iteration
    resumes = true
  }

  /** False for a line that is not for the driver itself. */
  def line(text: String): Boolean = synchronized {
    def number(mark: String): Option[Long] = if (text.startsWith(mark)) Try(text.drop(mark.length).toLong).toOption else None
    number(At).foreach(iteration => reached = math.max(reached, iteration))
    number(Saved).foreach(iteration => newest = math.max(newest, iteration))
    number(Restart).foreach(restarted)
    Seq(At, Saved, Restart).exists(text.startsWith(_))
  }

  private def restarted(iteration: Long): Unit = {
    val from = if (iteration < 0) "the beginning" else s"iteration $iteration"
    if (resumes && failure.isEmpty) tell(s"Training goes on from $from, where an earlier run was interrupted")
    else {
      if (failure.isEmpty) failed("Spark has not said why", Echo)
      val repeated = math.max(0L, reached - math.max(0L, iteration))
      count += 1
      TrainingMetrics.recoveries.incrementAndGet()
      TrainingMetrics.repeatedIterations.addAndGet(repeated)
      tell(f"Recovery $count%d: ${failure.get.text}%s; training goes on from $from%s, $repeated%d iteration(s) are repeated, " +
        f"${(System.nanoTime() - failedAt) / 1e9}%.1f s after the failure")
    }
    resumes = false
    failure = None
    reached = iteration
  }

  /** Of the causes that are told between two starts the one nearest to the origin counts. */
  def failed(text: String, distance: Int): Unit = synchronized {
    if (failure.isEmpty) failedAt = System.nanoTime()
    val line = text.trim.replaceAll("\\s*\\R\\s*", "; ").take(MaxCause)
    if (failure.forall(_.distance > distance)) failure = Some(Cause(line, distance))
  }

  override def onStageSubmitted(event: SparkListenerStageSubmitted): Unit = synchronized {
    if (event.stageInfo.rddInfos.exists(_.name == stage)) stages += event.stageInfo.stageId
  }

  override def onTaskStart(event: SparkListenerTaskStart): Unit = synchronized {
    if (stages.contains(event.stageId)) executors += event.taskInfo.executorId
  }

  override def onExecutorRemoved(event: SparkListenerExecutorRemoved): Unit =
    if (synchronized(executors.contains(event.executorId))) {
      failed(lost(event.executorId, event.reason), LostExecutor)
    }

  override def onTaskEnd(event: SparkListenerTaskEnd): Unit = if (synchronized(stages.contains(event.stageId))) {
    val where = s"on executor ${event.taskInfo.executorId} (${event.taskInfo.host})"
    event.reason match {
      case failure: ExecutorLostFailure =>
        failed(lost(failure.execId, failure.reason.getOrElse("no reason is known")), LostExecutor)
      case killed: TaskKilled =>
        val echo = killed.reason.startsWith("Stage") || killed.reason.contains("barrier")
        failed(s"worker ${event.taskInfo.index} $where was stopped by Spark (${killed.reason})", if (echo) Echo else Own)
      case error: ExceptionFailure =>
        val communication = error.className.endsWith("CommunicationException")
        failed(error.description, if (communication) Connection else Own)
      case other: TaskFailedReason => failed(s"worker ${event.taskInfo.index} $where: ${other.toErrorString}", Own)
      case _ =>
    }
  }

  override def close(): Unit = context.foreach(_.removeSparkListener(this))
}

private[caffe] object RunLog {
  /** In front of worker 0's lines for the driver, with an iteration: how far it is, what is saved, where it starts again. */
  val At = "@at "
  val Saved = "@saved "
  val Restart = "@restart "

  // How far from the origin of a failure somebody stands who reports it.
  val LostExecutor = 0
  val Own = 1
  val Connection = 2
  val Echo = 3
  private val MaxCause = 400

  // Behind this word YARN tells what a container wrote at last.
  private val YarnsDetails = " Diagnostics: "

  private def lost(executor: String, reason: String): String =
    s"executor $executor was lost (${reason.split(YarnsDetails, 2).head})"

  private final case class Cause(text: String, distance: Int)
}
