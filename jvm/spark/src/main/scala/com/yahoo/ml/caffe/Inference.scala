package com.yahoo.ml.caffe

import java.nio.file.{Path => LocalPath, Paths}

import caffe.Caffe.NetParameter
import com.yahoo.ml.caffe.engine.{Library, Net}
import org.apache.hadoop.fs.Path
import org.apache.spark.sql.types.{ArrayType, FloatType, StringType, StructField, StructType}
import org.apache.spark.sql.{DataFrame, Row, SparkSession}
import org.apache.spark.storage.StorageLevel
import org.apache.spark.{InterruptibleIterator, SparkContext, TaskContext}

import scala.collection.immutable.ListMap
import scala.jdk.CollectionConverters._

/** What a task of test or features needs to know. */
private[caffe] final case class InferenceJob(net: Array[Byte], stages: String, level: Int, model: String, backend: String,
    records: String, blobs: Seq[String], perBatch: Set[String], threads: Int, hadoop: HadoopSettings)

/** The driver's side of test and features: every record exactly once, whatever the batch size. */
private[caffe] final class Inference(sc: SparkContext, conf: Config, source: DataSource[_, _] with NativeRecords) {
  private val storage = new Storage(sc.hadoopConfiguration)

  /** Means over all records, in the order of the network's outputs. */
  def test(): Map[String, Seq[Double]] = {
    val (job, size, outputs) = prepare(Nil)
    val wanted = job.copy(blobs = outputs)
    val partial = Failures.explained {
      ranges(size).map { case (begin, end) => Results.encode(InferenceTask.reported(InferenceTask.sums(wanted, begin, end))) }
        .collect()
    }
    val sums = partial.toSeq.map(Results.decode[Sums](_)).map(_.fold(failure => throw failure.exception, identity))
    val total = sums.reduce(_ + _)
    ListMap(outputs.map(name => name -> total.mean(name)): _*)
  }

  /** One row per record: its key, and each blob's values for it. */
  def features(session: SparkSession): DataFrame = {
    val blobs = conf.features
    if (blobs == null || blobs.isEmpty) throw new IllegalArgumentException("-features names no blob")
    val (job, size, _) = prepare(blobs.toSeq)
    val rows = ranges(size).flatMap { case (begin, end) => InferenceTask.rows(job, begin, end) }
    val columns = blobs.map(StructField(_, ArrayType(FloatType, containsNull = false), nullable = false))
    val schema = StructType(StructField("SampleID", StringType, nullable = false) +: columns)
    val frame = session.createDataFrame(rows, schema).persist(StorageLevel.DISK_ONLY)
    try {
      val count = Failures.explained(frame.count())
      if (count != size) throw new CaffeException(s"$count rows came back for $size records")
      frame
    } catch {
      case e: Throwable =>
        frame.unpersist()
        throw e
    }
  }

  private def ranges(size: Long) = {
    val parts = conf.lmdb_partitions
    sc.parallelize(Records.ranges(size, parts), parts)
  }

  /** Builds the network once on an executor: a mistake shows as one error, and the records are counted there. */
  private def prepare(blobs: Seq[String]): (InferenceJob, Long, Seq[String]) = {
    if (conf.modelPath.isEmpty) throw new IllegalArgumentException("-model is missing; say which model to use")
    val solver = conf.solverParameter
    val state = Nets.testState(solver, conf.testNetParam)
    val layer = conf.test_data_layer_id
    if (layer < 0) throw new IllegalArgumentException(s"the network of ${conf.protoFile} has no data layer for phase TEST")
    val net = Nets.withSource(Nets.forEngine(conf.testNetParam, Seq(state)), layer, source.backend, source.folder.toString)
    val job = InferenceJob(net.toByteArray, state.getStageList.asScala.mkString(","), state.getLevel, model.toString,
      source.backend, source.folder.toString, blobs, Nets.perBatchBlobs(net), Cluster.threadsPerTask(sc, conf.lmdb_partitions),
      new HadoopSettings(sc.hadoopConfiguration))
    val found = Failures.explained {
      sc.parallelize(Seq(0), 1).map(_ => Results.encode(InferenceTask.reported(InferenceTask.probe(job)))).first()
    }
    val (size, outputs) = Results.decode[(Long, Seq[String])](found).fold(f => throw f.exception, identity)
    if (size == 0) throw new IllegalArgumentException(s"${source.backend} ${source.folder} holds no records")
    (job, size, outputs)
  }

  /** As it is written; else with the ending that training gives it. */
  private def model: Path = {
    val exact = storage.resolve(conf.modelPath)
    val trained = Trainer.modelPath(storage, conf)
    if (conf.isTraining) trained
    else if (exact != trained && !storage.exists(exact) && storage.exists(trained)) trained
    else exact
  }
}

/** Weighted sums of outputs over some records. */
private[caffe] final case class Sums(rows: Long, values: Map[String, Array[Double]]) {
  def +(other: Sums): Sums =
    if (rows == 0) other
    else if (other.rows == 0) this
    else Sums(rows + other.rows, values.map { case (name, a) =>
      val b = other.values(name)
      if (a.length != b.length) {
        throw new CaffeException(s"output $name has ${a.length} values per record in one partition and ${b.length} in another")
      }
      name -> a.zip(b).map { case (x, y) => x + y }
    })

  def mean(name: String): Seq[Double] = values(name).map(_ / rows).toSeq
}

/** What runs in the tasks. */
private[caffe] object InferenceTask {
  /** A mistake becomes a value; see Failure. */
  def reported[A <: AnyRef](body: => A): Either[Failure, A] =
    try Right(body)
    catch { case e: Throwable if Failures.reportable(e) => Left(Failures.of(e, s"host ${Storage.host}")) }

  /** (number of records, names of the outputs) */
  def probe(job: InferenceJob): (Long, Seq[String]) = {
    Library.load()
    val source = Records.open(job.backend, Paths.get(job.records))
    val size = try source.size() finally source.close()
    Storage.withTemporaryFolder { folder =>
      val net = open(job, folder, 0, math.min(1, size))
      try (size, net.outputNames.toSeq)
      finally net.close()
    }
  }

  private def open(job: InferenceJob, folder: LocalPath, begin: Long, end: Long): Net = {
    Library.load()
    Records.requireFolder(job.backend, Paths.get(job.records))
    val weights = job.hadoop.storage.fetch(new Path(job.model), folder, "the model")
    val options = Map("weights" -> weights.toString, "threads" -> job.threads.toString, "begin" -> begin.toString,
      "end" -> end.toString) ++
      (if (job.blobs.isEmpty) Nil else Seq("observe" -> job.blobs.mkString(","))) ++
      (if (job.stages.isEmpty) Nil else Seq("stages" -> job.stages)) ++
      (if (job.level == 0) Nil else Seq("level" -> job.level.toString))
    Net.create(HostFiles.prepare(NetParameter.parseFrom(job.net)).toByteArray, Net.TEST, options.asJava)
  }

  /** One batch: keys, and for each blob the values of a row by its number. */
  private final class Batch(val keys: Array[String], columns: Map[String, Array[Float]], perBatch: Set[String]) {
    def rows: Int = keys.length

    def values(blob: String, row: Int): Array[Float] = {
      val all = columns(blob)
      // One value for the whole batch stands for each of its rows.
      if (perBatch(blob) || all.length < rows || all.length % rows != 0) all
      else {
        val width = all.length / rows
        all.slice(row * width, (row + 1) * width)
      }
    }
  }

  private def batches(job: InferenceJob, net: Net): Iterator[Batch] =
    Iterator.continually(net.forward()).takeWhile(_ > 0).map { rows =>
      val keys = net.recordKeys
      if (keys.length != rows) throw new CaffeException(s"${keys.length} record keys came with a batch of $rows")
      new Batch(keys, job.blobs.map(name => name -> net.read(name)).toMap, job.perBatch)
    }

  def rows(job: InferenceJob, begin: Long, end: Long): Iterator[Row] =
    if (begin == end) Iterator.empty
    else {
      val context = TaskContext.get()
      val folder = java.nio.file.Files.createTempDirectory("caffeonspark-task-")
      context.addTaskCompletionListener[Unit](_ => Storage.delete(folder))
      val net = open(job, folder, begin, end)
      context.addTaskCompletionListener[Unit](_ => net.close())
      new InterruptibleIterator(context, batches(job, net)).flatMap { batch =>
        Iterator.range(0, batch.rows).map { row =>
          Row.fromSeq(batch.keys(row) +: job.blobs.map(batch.values(_, row).toSeq))
        }
      }
    }

  def sums(job: InferenceJob, begin: Long, end: Long): Sums =
    if (begin == end) Sums(0, Map.empty)
    else Storage.withTemporaryFolder { folder =>
      val net = open(job, folder, begin, end)
      try {
        val total = new InterruptibleIterator(TaskContext.get(), batches(job, net)).map(sum(job, _))
          .foldLeft(Sums(0, Map.empty))(_ + _)
        if (total.rows != end - begin) {
          throw new CaffeException(s"${total.rows} rows came back for records $begin until $end")
        }
        total
      } finally net.close()
    }

  private def sum(job: InferenceJob, batch: Batch): Sums = Sums(batch.rows, job.blobs.map { name =>
    val total = new Array[Double](batch.values(name, 0).length)
    for (row <- 0 until batch.rows) {
      val values = batch.values(name, row)
      for (i <- total.indices) total(i) += values(i)
    }
    name -> total
  }.toMap)
}
