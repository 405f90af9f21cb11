package com.yahoo.ml.caffe

import org.apache.spark.sql.Row
import org.apache.spark.{InterruptibleIterator, TaskContext}

/** What tasks share that answer rows in batches by a model of their own. */
private[caffe] object TaskRows {
  /**
   * The rows of a partition, in order, as `answer` gives them back for each batch; it also learns how messages call row i of
   * the batch. The model is opened if there are rows, and closed with the task.
   */
  def answered[A <: AutoCloseable](input: Iterator[Row], batch: Int)(open: TaskContext => A)(
      answer: (A, IndexedSeq[Row], Int => String) => Iterator[Row]): Iterator[Row] =
    if (!input.hasNext) Iterator.empty
    else {
      val context = TaskContext.get()
      val model = Guarded.inTask(context, open(context))
      var before = 0L
      new InterruptibleIterator(context, input.grouped(batch)).flatMap { group =>
        val rows = group.toIndexedSeq
        val start = before
        before += rows.length
        model.use(answer(_, rows, i => s"row ${start + i} of partition ${context.partitionId()}"))
      }
    }
}
