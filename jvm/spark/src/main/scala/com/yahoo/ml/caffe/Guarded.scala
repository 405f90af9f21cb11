package com.yahoo.ml.caffe

import org.apache.spark.{TaskContext, TaskKilledException}

/**
 * Something that is closed between two uses, never in one. A task's rows may be taken by another thread (RDD.pipe; Python
 * before Spark 4), which nobody waits for when the task ends.
 */
private[caffe] final class Guarded[A <: AutoCloseable](guarded: A) extends AutoCloseable {
  private var open = true

  def use[B](body: A => B): B = synchronized {
    if (!open) throw new TaskKilledException("the task has ended")
    body(guarded)
  }

  override def close(): Unit = synchronized {
    if (open) {
      open = false
      guarded.close()
    }
  }
}

private[caffe] object Guarded {
  /** Closed with the task. */
  def inTask[A <: AutoCloseable](context: TaskContext, guarded: A): Guarded[A] = {
    val made = new Guarded(guarded)
    context.addTaskCompletionListener[Unit](_ => made.close())
    made
  }
}
