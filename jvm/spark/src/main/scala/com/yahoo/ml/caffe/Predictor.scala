package com.yahoo.ml.caffe

import com.yahoo.ml.caffe.engine.Net
import org.apache.spark.broadcast.Broadcast
import org.apache.spark.ml.linalg.Vectors
import org.apache.spark.sql.Row

/** All that a task needs to answer rows. `threads` 0: as many as the task has cores. */
private[caffe] final case class PredictJob(key: String, net: Array[Byte], inputs: Seq[FilledInput], outputs: Seq[String],
    batch: Int, vectors: Boolean, prediction: Boolean, invalid: String, share: Boolean, threads: Int,
    precision: String) {
  def opened(data: () => ModelData, hdf5: Boolean, taskCores: Int): OpenedNet = {
    val count = if (threads > 0) threads else taskCores
    OpenedNet(s"$key/$count", net, outputs, count, share, hdf5, () => data().weights, precision)
  }
}

/** Answers rows, a batch at a time. One thread at a time. */
private[caffe] final class Predictor(job: PredictJob, opened: OpenedNet, mean: Array[Byte]) extends AutoCloseable {
  private val readers = job.inputs.map(new InputReader(_, job.batch, mean))
  private val (net: Net, axes: RowAxes) =
    try NetPool.takeForRows(opened)
    catch {
      case e: Throwable =>
        readers.foreach(_.close())
        throw e
    }
  private var failed = false

  /** For each row its outputs; None for an invalid row. `place` names a row in errors. */
  def answer(rows: IndexedSeq[Row], place: Int => String): IndexedSeq[Option[Seq[Any]]] = {
    var filled = 0
    val slots = rows.indices.map { i =>
      try {
        readers.foreach(_.read(rows(i), filled))
        filled += 1
        Some(filled - 1)
      } catch {
        case _: InvalidRow if job.invalid != CaffeParams.Error => None
        case e: InvalidRow => throw new IllegalArgumentException(s"${place(i)}: ${e.getMessage}")
      }
    }
    val answers = if (filled == 0) IndexedSeq.empty else run(filled)
    slots.map(_.map(answers))
  }

  private def run(rows: Int): IndexedSeq[Seq[Any]] =
    try {
      readers.foreach(r => net.setInput(r.input.blob, (rows +: r.input.shape).map(_.toLong).toArray, r.values))
      net.forward()
      val blobs = job.outputs.map(name => (name, net.read(name), net.shape(name).toSeq))
      (0 until rows).map { row =>
        val values = blobs.map { case (name, all, shape) => axes.values(name, all, shape, rows, row) }
        val columns = values.map(v => if (job.vectors) Vectors.dense(v.map(_.toDouble)) else v.toSeq)
        if (job.prediction) columns :+ Predictor.decide(values.head) else columns
      }
    } catch {
      case e: Throwable =>
        failed = true
        throw e
    }

  override def close(): Unit = {
    if (failed) NetPool.discard(opened.key, net) else NetPool.give(opened.key, net)
    readers.foreach(_.close())
  }
}

private[caffe] object Predictor {
  /** What runs in a task: every input row, in order, with its outputs behind its columns. */
  def rows(job: PredictJob, model: Broadcast[ModelData], hdf5: Boolean, input: Iterator[Row]): Iterator[Row] = {
    val nothing = Seq.fill(job.outputs.length + (if (job.prediction) 1 else 0))(null)
    TaskRows.answered(input, job.batch) { context =>
      new Predictor(job, job.opened(() => model.value, hdf5, context.cpus()), model.value.mean)
    } { (predictor, rows, name) =>
      val answers = predictor.answer(rows, name)
      rows.indices.iterator.flatMap { i =>
        answers(i) match {
          case Some(values) => Some(Row.fromSeq(rows(i).toSeq ++ values))
          case None if job.invalid == CaffeParams.Keep => Some(Row.fromSeq(rows(i).toSeq ++ nothing))
          case None => None
        }
      }
    }
  }

  /** The index of the largest value; a single value itself. */
  def decide(values: Array[Float]): Double =
    if (values.length == 1) values(0).toDouble
    else {
      var best = 0
      for (i <- values.indices) if (values(i) > values(best)) best = i
      best.toDouble
    }
}
