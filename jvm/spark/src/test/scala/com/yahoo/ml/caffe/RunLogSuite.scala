package com.yahoo.ml.caffe

import com.codahale.metrics.MetricRegistry
import org.apache.spark.scheduler._
import org.apache.spark.storage.{RDDInfo, StorageLevel}
import org.apache.spark.{ExceptionFailure, ExecutorLostFailure, TaskEndReason, TaskKilled}
import org.scalatest.funsuite.AnyFunSuite

import scala.collection.mutable

/** Spark's events and worker 0's lines, as they come in a run, and what the driver tells of them. */
class RunLogSuite extends AnyFunSuite {
  private val ours = 3
  private val told = mutable.Buffer.empty[String]
  private val registry = new MetricRegistry
  TrainingMetrics.register(registry)

  private def count(name: String): Long = registry.getGauges.get(name).getValue.asInstanceOf[Long]

  private def started(): RunLog = {
    told.clear()
    val log = new RunLog("training x", told += _)
    val rdd = new RDDInfo(1, "training x", 2, StorageLevel.NONE, true, Nil)
    log.onStageSubmitted(SparkListenerStageSubmitted(new StageInfo(ours, 0, "map", 2, Seq(rdd), Nil, "", resourceProfileId = 0)))
    for (worker <- 0 to 1) log.onTaskStart(SparkListenerTaskStart(ours, 0, task(worker)))
    log
  }

  private def task(worker: Int): TaskInfo =
    new TaskInfo(worker, worker, 0, 0L, s"$worker", s"host$worker", TaskLocality.ANY, false)

  private def ended(log: RunLog, worker: Int, reason: TaskEndReason, stage: Int = ours): Unit =
    log.onTaskEnd(SparkListenerTaskEnd(stage, 0, "", reason, task(worker), null, null))

  private def error(kind: String, text: String): ExceptionFailure =
    ExceptionFailure(s"com.yahoo.ml.caffe.$kind", text, Array.empty, "", None)

  private def killed(why: String): TaskKilled = TaskKilled(why)

  private val Line = """(Recovery \d+: .*; training goes on from .*, \d+ iteration\(s\) are repeated), \d+\.\d s after the failure""".r

  private def lines: Seq[String] = told.toSeq.map {
    case Line(text) => text
    case other => other
  }

  test("a recovery is one line, with the cause next to the origin, where training goes on, and what is repeated; it is counted") {
    val (recoveries, repeated) = (count("recoveries"), count("repeated_iterations"))
    val log = started()
    Seq("@at 90", "@saved 100", "@at 130").foreach(line => assert(log.line(line)))
    assert(log.saved == 100 && !log.line("Iteration 100 of 200"))
    ended(log, 0, error("engine.CommunicationException", "worker 1 is lost"))
    ended(log, 0, killed("Stage cancelled"))
    log.onExecutorRemoved(SparkListenerExecutorRemoved(0, "1", "Command exited\n  with code 137 Diagnostics: [its last words"))
    ended(log, 1, ExecutorLostFailure("1", exitCausedByApp = true, Some("later")))
    assert(log.line("@restart 100"))
    assert(lines == Seq("Recovery 1: executor 1 was lost (Command exited; with code 137); training goes on from iteration 100, " +
      "30 iteration(s) are repeated"))
    log.line("@at 110")
    ended(log, 1, killed("somebody wants it"))
    log.line("@restart -1")
    assert(lines.last == "Recovery 2: worker 1 on executor 1 (host1) was stopped by Spark (somebody wants it); training goes on " +
      "from the beginning, 110 iteration(s) are repeated")
    assert(count("recoveries") == recoveries + 2 && count("repeated_iterations") == repeated + 140)
  }

  test("a worker's own error counts more than the echoes at the others, whatever comes first") {
    val own = error("CaffeException", "out of memory")
    val echo = error("engine.CommunicationException", "worker 1 stopped")
    for (order <- Seq(Seq(0 -> echo, 1 -> own), Seq(1 -> own, 0 -> echo))) {
      val log = started()
      order.foreach { case (worker, reason) => ended(log, worker, reason) }
      log.line("@restart 5")
      assert(lines.head.startsWith("Recovery 1: out of memory; "), lines)
    }
  }

  test("other jobs' tasks and executors are nobody's failure; a restart that Spark has not explained is told all the same") {
    val log = started()
    ended(log, 0, error("CaffeException", "of another job"), stage = ours + 1)
    log.onExecutorRemoved(SparkListenerExecutorRemoved(0, "7", "idle"))
    log.line("@restart 5")
    assert(lines == Seq("Recovery 1: Spark has not said why; training goes on from iteration 5, 0 iteration(s) are repeated"))
  }

  test("-resume is no recovery, but a failure after it is") {
    val log = started()
    log.resumeFrom(40)
    assert(log.saved == 40)
    log.line("@restart 40")
    log.line("@at 44")
    ended(log, 1, killed("somebody wants it"))
    log.line("@restart 40")
    assert(lines.length == 2 && lines.head == "Training goes on from iteration 40, where an earlier run was interrupted")
    assert(lines.last.endsWith("from iteration 40, 4 iteration(s) are repeated"))
  }
}
