package com.yahoo.ml.caffe

import java.nio.{ByteBuffer, ByteOrder}

import com.yahoo.ml.caffe.engine.Net
import com.yahoo.ml.caffe.tools.Vocab
import org.apache.spark.broadcast.Broadcast
import org.apache.spark.sql.Row

private[caffe] final case class CaptionModel(data: ModelData, words: Vector[String])

/** All that a task needs to make sentences. `threads` 0: as many as the task has cores. */
private[caffe] final case class CaptionJob(key: String, net: Array[Byte], features: FilledInput, wordBlob: String,
    contBlob: String, output: String, batch: Int, maxLength: Int, threads: Int, precision: String)

/** Makes sentences for rows, a batch at a time. One thread at a time. */
private[caffe] final class Captions(job: CaptionJob, model: CaptionModel, cores: Int) extends AutoCloseable {
  private val reader = new InputReader(job.features, job.batch, Array.empty)
  private val (word, cont) = (buffer(), buffer())
  private val opened = {
    val count = if (job.threads > 0) job.threads else cores
    OpenedNet(s"${job.key}/$count", job.net, Seq(job.output), count, share = true, model.data.hdf5, () => model.data.weights,
      job.precision)
  }
  private val net: Net = NetPool.take(opened)
  private var failed = false

  private def buffer(): ByteBuffer = ByteBuffer.allocateDirect(4 * job.batch).order(ByteOrder.nativeOrder)

  /** A sentence for each row; None where its features are null. `place` names a row in errors. */
  def answer(rows: IndexedSeq[Row], place: Int => String): IndexedSeq[Option[String]] = {
    var filled = 0
    val slots = rows.indices.map { i =>
      if (rows(i).isNullAt(job.features.column)) None
      else {
        try reader.read(rows(i), filled)
        catch { case e: InvalidRow => throw new IllegalArgumentException(s"${place(i)}: ${e.getMessage}") }
        filled += 1
        Some(filled - 1)
      }
    }
    val sentences = if (filled == 0) IndexedSeq.empty else run(filled)
    slots.map(_.map(sentences))
  }

  /** The network keeps its state from one word to the next; cont 0 makes it begin anew. */
  private def run(rows: Int): IndexedSeq[String] =
    try {
      val made = Array.fill(rows)(Vector.newBuilder[Int])
      val open = Array.fill(rows)(true)
      val last = Array.fill(rows)(Vocab.START_END_ID)
      var length = 0
      while (length < job.maxLength && open.contains(true)) {
        val chosen = step(last, goesOn = length > 0)
        for (row <- 0 until rows if open(row)) {
          if (chosen(row) == Vocab.START_END_ID) open(row) = false else made(row) += chosen(row)
          last(row) = chosen(row)
        }
        length += 1
      }
      made.iterator.map(_.result().map(sentenceWord).mkString(" ")).toIndexedSeq
    } catch {
      case e: Throwable =>
        failed = true
        throw e
    }

  private def step(last: Array[Int], goesOn: Boolean): Array[Int] = {
    val rows = last.length
    for (row <- 0 until rows) {
      word.putFloat(4 * row, last(row).toFloat)
      cont.putFloat(4 * row, if (goesOn) 1f else 0f)
    }
    net.setInput(job.wordBlob, Array(1L, rows.toLong), word)
    net.setInput(job.contBlob, Array(1L, rows.toLong), cont)
    net.setInput(job.features.blob, (rows +: job.features.shape).map(_.toLong).toArray, reader.values)
    net.forward()
    val scores = net.read(job.output)
    val width = scores.length / rows
    if (scores.length % rows != 0 || width < model.words.length + Vocab.VALID_TOKEN_INDEX) {
      throw new IllegalArgumentException(s"blob ${job.output} has ${scores.length} values for $rows sentences, but the vocabulary " +
        s"has ${model.words.length + Vocab.VALID_TOKEN_INDEX} words; use the vocabulary that the network was trained with")
    }
    Array.tabulate(rows)(row => (0 until width).maxBy(i => scores(row * width + i)))
  }

  private def sentenceWord(number: Int): String =
    model.words.lift(number - Vocab.VALID_TOKEN_INDEX).getOrElse(Vocab.UNKNOWN_TOKEN)

  override def close(): Unit = {
    if (failed) NetPool.discard(opened.key, net) else NetPool.give(opened.key, net)
    reader.close()
  }
}

private[caffe] object Captions {
  /** What runs in a task: every input row, in order, with its sentence behind its columns. */
  def rows(job: CaptionJob, model: Broadcast[CaptionModel], input: Iterator[Row]): Iterator[Row] =
    TaskRows.answered(input, job.batch)(context => new Captions(job, model.value, context.cpus())) { (captions, rows, name) =>
      rows.iterator.zip(captions.answer(rows, name).iterator).map { case (row, sentence) => Row.fromSeq(row.toSeq :+ sentence.orNull) }
    }
}
