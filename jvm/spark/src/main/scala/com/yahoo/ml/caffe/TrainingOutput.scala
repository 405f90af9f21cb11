package com.yahoo.ml.caffe

import java.io.{FilterOutputStream, OutputStream}

import com.yahoo.ml.caffe.shaded.protobuf.TextFormat
import org.apache.hadoop.fs.{FSDataOutputStream, Path}
import org.apache.spark.SparkConf
import org.slf4j.LoggerFactory

import scala.util.control.NonFatal

/** Where a training run is seen: the terminal, Spark's metrics, TensorBoard's event files, and a report at the end. */
private[caffe] final class TrainingOutput(settings: SparkConf, storage: Storage, id: String) extends AutoCloseable {
  import TrainingOutput._

  private var events: Option[EventFile] = settings.getOption(TensorBoard).flatMap { folder =>
    attempt(s"no event files in $folder") {
      val name = f"events.out.tfevents.${System.currentTimeMillis() / 1000}%010d.${Storage.host}.$id"
      new EventFile(new Visible(storage.create(new Path(storage.resolve(folder), name))), () => System.currentTimeMillis() / 1e3)
    }
  }

  /** A line of worker 0's: text for the terminal, or a marked point or validation round. */
  def line(text: String): Unit =
    if (!text.startsWith(Training.RoundMark)) {
      println(text)
      ProgressLog.add(text)
    } else {
      TrainingPoint.parse(text).foreach { point =>
        TrainingMetrics.current = Some(point)
        record(point.iteration, point.values.map { case (name, value) => s"train/$name" -> value })
      }
      Round.parseLine(text.drop(Training.RoundMark.length)).foreach { round =>
        val means = round.outputs.map { case (name, values) => name -> values.map(_.toDouble).sum / values.length }
        TrainingMetrics.validation = means
        record(round.iteration, means.map { case (name, value) => s"validation/$name" -> value })
      }
    }

  private def record(step: Long, values: Seq[(String, Double)]): Unit = synchronized(events.foreach { file =>
    if (attempt("no more event files")(file.scalars(step, values)).isEmpty) events = None
  })

  def finish(reports: Seq[WorkerReport], conf: Config): Unit = settings.getOption(Report).foreach { file =>
    attempt(s"no report in $file") {
      val net = conf.netParam
      val report = TrainingReport(s"Training of ${if (net.getName.isEmpty) "a network" else net.getName}", reports.head.points,
        reports.head.rounds, reports, Seq("Job" -> conf.toString,
          "Solver" -> TextFormat.printer().printToString(conf.solverParameter.toBuilder.clearNetParam().build()),
          "Network" -> TextFormat.printer().printToString(net)))
      val path = storage.resolve(file)
      storage.writeText(report.html, path)
      println(s"Report: $path")
    }
  }

  override def close(): Unit = synchronized {
    events.foreach(file => attempt("an event file could not be closed")(file.close()))
    events = None
  }
}

private[caffe] object TrainingOutput {
  /** Spark property: a folder for TensorBoard's event files. */
  val TensorBoard = "spark.caffe.tensorboard"
  /** Spark property: the HTML file of the report. */
  val Report = "spark.caffe.report"
  private val log = LoggerFactory.getLogger(classOf[TrainingOutput])

  /** What only shows a run must not end it. */
  private def attempt[A](what: String)(body: => A): Option[A] =
    try Some(body)
    catch {
      case NonFatal(e) =>
        log.warn(s"$what: ${Failures.describe(e)}")
        None
    }

  /** What was flushed can be read by others. */
  private final class Visible(file: FSDataOutputStream) extends FilterOutputStream(file: OutputStream) {
    override def write(bytes: Array[Byte], from: Int, count: Int): Unit = file.write(bytes, from, count)
    override def flush(): Unit = file.hflush()
  }
}
