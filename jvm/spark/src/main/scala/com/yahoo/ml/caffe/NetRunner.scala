package com.yahoo.ml.caffe

import java.nio.file.Files

import caffe.Caffe.NetParameter
import com.yahoo.ml.caffe.engine.{Library, Net, RowFile}
import org.apache.hadoop.fs.Path
import org.apache.spark.TaskContext

import scala.jdk.CollectionConverters._

/** What a task of test, features or transform needs to know. Equal for all tasks. */
private[caffe] final case class InferenceJob(
    net: Array[Byte],
    stages: String,
    level: Int,
    /** The weights, on any Hadoop file system. */
    model: String,
    /** The blobs that are read after each batch. */
    blobs: Seq[String],
    rowAxes: RowAxes,
    threads: Int,
    input: InferenceInput,
    engineOptions: Map[String, String],
    hadoop: HadoopSettings)

/** Where a network's records come from. */
private[caffe] sealed trait InferenceInput

/** A store that the engine reads itself: a folder of every host, or a URI. */
private[caffe] final case class StoreInput(backend: String, folder: String) extends InferenceInput

/** Rows of Spark, for these layers; `batch` is the batch size, `name` what messages call the rows. */
private[caffe] final case class RowInput(layers: Seq[String], name: String, batch: Int) extends InferenceInput

/** The blobs of one batch: the values and the shape of each. */
private[caffe] final class Batch(val keys: Array[String], columns: Map[String, (Array[Float], Seq[Long])], job: InferenceJob) {
  def rows: Int = keys.length

  /** A row's own values; what a batch has once stands for each of its rows. */
  def values(blob: String, row: Int): Array[Float] = {
    val (all, shape) = columns(blob)
    job.rowAxes.values(blob, all, shape, rows, row)
  }
}

/**
 * A network in a task. `close` it; the usual way is `NetRunner.inTask`. Used by one thread at a time.
 *
 * Rows are answered in pieces of a few batches: the next piece is read only when the one before has been answered, so
 * neither memory nor disk holds more, whatever the size of a partition.
 */
private[caffe] final class NetRunner(job: InferenceJob, range: Option[(Long, Long)]) extends AutoCloseable {
  private val folder = Storage.temporaryFolder()
  private val copies = new HostCopies(job.hadoop.storage)
  private val net = new Guarded(try open() catch { case e: Throwable => letGo(); throw e })

  private def open(): Net = {
    Library.load()
    val weights = copies.file(new Path(job.model), "the model")
    val source = job.input match {
      case StoreInput(backend, records) =>
        Records.requireFolder(backend, copies.folder(records, backend))
        range.toSeq.flatMap { case (begin, end) => Seq("begin" -> begin.toString, "end" -> end.toString) }
      case _: RowInput => Seq("feed" -> "1")
    }
    val options = Map("weights" -> weights.toString, "threads" -> job.threads.toString) ++ source ++ job.engineOptions ++
      (if (job.blobs.isEmpty) Nil else Seq("observe" -> job.blobs.mkString(","))) ++
      (if (job.stages.isEmpty) Nil else Seq("stages" -> job.stages)) ++
      (if (job.level == 0) Nil else Seq("level" -> job.level.toString))
    Net.create(HostFiles.prepare(NetParameter.parseFrom(job.net), copies).toByteArray, Net.TEST, options.asJava)
  }

  def outputNames: Seq[String] = net.use(_.outputNames.toSeq)

  def shapes(blobs: Seq[String]): RowAxes.Shapes = net.use(net => blobs.map(blob => blob -> net.shape(blob).toSeq).toMap)

  /** The batches that are left of a store's range, or of the rows fed last. */
  def batches: Iterator[Batch] = Iterator.continually(net.use(nextBatch(_))).takeWhile(_.isDefined).flatten

  private def nextBatch(net: Net): Option[Batch] = {
    val rows = net.forward()
    if (rows == 0) None
    else {
      val keys = net.recordKeys
      if (keys.length != rows) throw new CaffeException(s"${keys.length} record keys came with a batch of $rows")
      Some(new Batch(keys, job.blobs.map(name => name -> ((net.read(name), net.shape(name).toSeq))).toMap, job))
    }
  }

  /**
   * Answers every element of `input`, in order and once. `rows` gives an element's row for each layer of the job's
   * RowInput; `answer` gets the element, its batch and its place there.
   */
  def answer[A, B](input: Iterator[A])(rows: A => Seq[Array[Byte]])(answer: (A, Batch, Int) => B): Iterator[B] = {
    val RowInput(_, _, batch) = job.input
    input.grouped(batch * NetRunner.BatchesPerPiece).flatMap { piece =>
      feed(piece.map(rows))
      var answered = 0
      val answers = batches.flatMap { batch =>
        val first = answered
        answered += batch.rows
        if (answered > piece.length) throw wrongCount(answered, piece.length)
        Iterator.range(0, batch.rows).map(row => answer(piece(first + row), batch, row))
      }
      answers ++ Iterator.fill(1)(answered).flatMap { count =>
        if (count != piece.length) throw wrongCount(count, piece.length)
        Iterator.empty
      }
    }
  }

  private def wrongCount(answered: Int, rows: Int): CaffeException =
    new CaffeException(s"$answered answers came back for $rows rows")

  private def feed(rows: Seq[Seq[Array[Byte]]]): Unit = {
    val RowInput(layers, name, _) = job.input
    for ((layer, i) <- layers.zipWithIndex) {
      val path = folder.path.resolve(s"$i.rows")
      Files.deleteIfExists(path) // the piece before may still be mapped
      val file = RowFile.create(path.toString, name)
      try {
        for ((row, number) <- rows.iterator.zipWithIndex) file.append(RowRecord.withOrder(row(i), number))
        file.finish()
      } finally file.close()
      net.use(_.feed(layer, path.toString))
    }
  }

  override def close(): Unit = {
    net.close()
    letGo()
  }

  private def letGo(): Unit = {
    copies.close()
    folder.close()
  }
}

private[caffe] object NetRunner {
  private val BatchesPerPiece = 4

  /** A network that is closed with the task. */
  def inTask(job: InferenceJob, range: Option[(Long, Long)] = None): NetRunner = {
    val runner = new NetRunner(job, range)
    TaskContext.get().addTaskCompletionListener[Unit](_ => runner.close())
    runner
  }
}
