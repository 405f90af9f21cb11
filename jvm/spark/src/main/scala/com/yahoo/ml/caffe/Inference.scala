package com.yahoo.ml.caffe

import caffe.Caffe.NetParameter
import org.apache.hadoop.fs.Path
import org.apache.spark.rdd.RDD
import org.apache.spark.sql.types.{ArrayType, FloatType, StringType, StructField, StructType}
import org.apache.spark.sql.{DataFrame, Row, SparkSession}
import org.apache.spark.storage.StorageLevel
import org.apache.spark.{InterruptibleIterator, SparkContext, TaskContext}

import scala.collection.immutable.ListMap
import scala.jdk.CollectionConverters._

/** The driver's side of test and features: every record exactly once, whatever the batch size. */
private[caffe] final class Inference(sc: SparkContext, conf: Config, source: DataSource[_, _]) {
  private val storage = new Storage(sc.hadoopConfiguration)
  private val state = Nets.testState(conf.solverParameter, conf.testNetParam)
  private val rowLayers = Nets.rowLayers(conf.testNetParam, Seq(state), conf.resize)

  /** Means over all records, in the order of the network's outputs. */
  def test(): Map[String, Seq[Double]] = {
    val (job, size, outputs) = prepare(Nil)
    val wanted = job.copy(blobs = outputs)
    val partial = Failures.explained {
      onParts(size)(
        (begin, end) => Iterator(Results.encode(InferenceTask.reported(InferenceTask.sums(wanted, begin, end)))),
        rows => Iterator(Results.encode(InferenceTask.reported(InferenceTask.sums(wanted, rows))))).collect()
    }
    val sums = partial.toSeq.map(Results.decode[Sums](_)).map(_.fold(failure => throw failure.exception, identity))
    val total = sums.foldLeft(Sums(0, Map.empty))(_ + _)
    if (total.rows == 0) throw noRecords
    ListMap(outputs.map(name => name -> total.mean(name)): _*)
  }

  /** One row per record: its key, and each blob's values for it. */
  def features(session: SparkSession): DataFrame = {
    val blobs = conf.features
    if (blobs == null || blobs.isEmpty) throw new IllegalArgumentException("-features names no blob")
    val (job, size, _) = prepare(blobs.toSeq)
    val rows = onParts(size)((begin, end) => InferenceTask.rows(job, begin, end), InferenceTask.rows(job, _))
    val columns = blobs.map(StructField(_, ArrayType(FloatType, containsNull = false), nullable = false))
    val schema = StructType(StructField("SampleID", StringType, nullable = false) +: columns)
    val frame = session.createDataFrame(rows, schema).persist(StorageLevel.DISK_ONLY)
    try {
      val count = Failures.explained(frame.count())
      if (count == 0) throw noRecords
      if (size.exists(_ != count)) throw new CaffeException(s"$count rows came back for ${size.get} records")
      frame
    } catch {
      case e: Throwable =>
        frame.unpersist()
        throw e
    }
  }

  private def noRecords = new IllegalArgumentException(s"${source.describe} holds no records")

  /** Tasks over ranges of a store, or over the rows of the sources. */
  private def onParts[A: scala.reflect.ClassTag](size: Option[Long])(ofStore: (Long, Long) => Iterator[A],
      ofRows: Iterator[Seq[Array[Byte]]] => Iterator[A]): RDD[A] = size match {
    case Some(records) =>
      val parts = conf.lmdb_partitions
      sc.parallelize(Records.ranges(records, parts), parts).flatMap { case (begin, end) => ofStore(begin, end) }
    case None => rows.mapPartitions(ofRows)
  }

  /** One element per row: what each of the layers gets. */
  private def rows: RDD[Seq[Array[Byte]]] = {
    val sources = rowLayers.map { i =>
      val of = if (i == source.layerId && !source.isTrain) source else DataSource.ofLayer(conf, i, isTraining = false)
      (Nets.describe(conf.testNetParam.getLayer(i)), of.rows(sc))
    }
    val all = sources match {
      case Seq((_, one)) => one.map(Seq(_))
      case several => Inference.side(several)
    }
    if (all.getNumPartitions < conf.clusterSize) all.repartition(conf.clusterSize) else all
  }

  /** Builds the network once on an executor: a mistake shows as one error, and a store's records are counted there. */
  private def prepare(blobs: Seq[String]): (InferenceJob, Option[Long], Seq[String]) = {
    if (conf.modelPath.isEmpty) throw new IllegalArgumentException("-model is missing; say which model to use")
    val layer = conf.test_data_layer_id
    if (layer < 0) throw new IllegalArgumentException(s"the network of ${conf.protoFile} has no data layer for phase TEST")
    val engineNet = Nets.forEngine(conf.testNetParam, Seq(state), conf.resize, identity)
    val (net, input) = source match {
      case store: NativeRecords if rowLayers.isEmpty =>
        val net = Nets.withSource(engineNet, layer, store.backend, store.folder)
        HostFiles.announce(storage, Seq(net))
        (net, StoreInput(store.backend, store.folder))
      case _ if rowLayers.isEmpty || Nets.storeLayers(engineNet, state).nonEmpty =>
        throw new IllegalArgumentException(s"the network of ${conf.protoFile} reads both rows of Spark and a store " +
          "(an LMDB or a Data layer); test and features need all of one kind")
      case _ =>
        val layers = rowLayers.map(engineNet.getLayer(_))
        (engineNet, RowInput(layers.map(_.getName), source.describe, layers.map(Nets.batchSize(_)).head))
    }
    val job = InferenceJob(net.toByteArray, state.getStageList.asScala.mkString(","), state.getLevel, model.toString, blobs,
      RowAxes(Map.empty), Cluster.threadsPerTask(sc, conf.lmdb_partitions), input, Inference.engineOptions(conf),
      new HadoopSettings(sc.hadoopConfiguration))
    val found = Failures.explained {
      sc.parallelize(Seq(0), 1).map(_ => Results.encode(InferenceTask.reported(InferenceTask.probe(job)))).first()
    }
    val probe = Results.decode[Probe](found).fold(failure => throw failure.exception, identity)
    if (probe.records.contains(0)) throw noRecords
    (job.copy(rowAxes = probe.rowAxes), probe.records, probe.outputs)
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

private[caffe] object Inference {
  private val CoresPerDataThread = 4

  /** Threads that decode and transform beside `cores` compute threads. */
  def dataThreads(conf: Config, cores: Int): Int = math.max(conf.transform_thread_per_device, cores / CoresPerDataThread)

  def engineOptions(conf: Config): Map[String, String] =
    Map("data_threads" -> conf.transform_thread_per_device.toString, Precision.option(conf.precision)) ++
      (if (conf.resize) Seq("resize" -> "1") else Nil)

  /** Row i of every source, side by side. All must have as many rows. */
  private def side(sources: Seq[(String, RDD[Array[Byte]])]): RDD[Seq[Array[Byte]]] = {
    val numbered = sources.map { case (layer, rows) => (layer, rows.zipWithIndex().map(_.swap)) }
    val (first, rest) = (numbered.head, numbered.tail)
    rest.foldLeft(first._2.map { case (i, row) => (i, Seq(row)) }) { case (left, (layer, right)) =>
      left.fullOuterJoin(right).map {
        case (i, (Some(rows), Some(row))) => (i, rows :+ row)
        case _ => throw new IllegalArgumentException(s"$layer and ${first._1} have not equally many rows")
      }
    }.sortByKey().values
  }
}

/** What a first look at a network tells; `records` is of a store. */
private[caffe] final case class Probe(records: Option[Long], outputs: Seq[String], rowAxes: RowAxes)

/** What runs in the tasks. */
private[caffe] object InferenceTask {
  /** A mistake becomes a value; see Failure. */
  def reported[A <: AnyRef](body: => A): Either[Failure, A] =
    try Right(body)
    catch { case e: Throwable if Failures.reportable(e) => Left(Failures.of(e, s"host ${Storage.host}")) }

  def probe(job: InferenceJob): Probe = {
    Gpus.refuse(TaskContext.get())
    val size = job.input match {
      case StoreInput(backend, folder) =>
        val copies = new HostCopies(job.hadoop.storage)
        try {
          val source = Records.open(backend, folder, copies)
          try Some(source.size()) finally source.close()
        } finally copies.close()
      case _: RowInput => None
    }
    val (outputs, shapes) = looking(job, size.map(math.min(1, _)))(runner =>
      (runner.outputNames, runner.shapes((job.blobs ++ runner.outputNames).distinct)))
    Probe(size, outputs, rowAxes(job, size, shapes))
  }

  private def looking[A](job: InferenceJob, records: Option[Long])(body: NetRunner => A): A = {
    val runner = new NetRunner(job, records.map((0L, _)))
    try body(runner)
    finally runner.close()
  }

  /** Stores are looked at with a batch of one and of two records. A store of one record needs no axis. */
  private def rowAxes(job: InferenceJob, records: Option[Long], shapes: RowAxes.Shapes): RowAxes =
    if (records.exists(_ < 2)) RowAxes(Map.empty)
    else {
      val rows = job.input match {
        case RowInput(_, _, batch) => batch.toLong
        case _: StoreInput => 1L
      }
      val larger = job.copy(net = Nets.withLargerBatches(NetParameter.parseFrom(job.net)).toByteArray)
      RowAxes.of(rows, shapes, rows + 1, looking(larger, records.map(_ => 2L))(_.shapes(shapes.keys.toSeq)))
    }

  /** SampleID and the blobs of every record in a store's range. */
  def rows(job: InferenceJob, begin: Long, end: Long): Iterator[Row] =
    if (begin == end) Iterator.empty
    else {
      val batches = NetRunner.inTask(job, Some((begin, end))).batches
      interruptible(batches).flatMap(batch => Iterator.range(0, batch.rows).map(row(job, batch, _)))
    }

  /** The same of rows. */
  def rows(job: InferenceJob, input: Iterator[Seq[Array[Byte]]]): Iterator[Row] =
    if (input.isEmpty) Iterator.empty
    else NetRunner.inTask(job).answer(interruptible(input))(identity)((_, batch, i) => row(job, batch, i))

  private def row(job: InferenceJob, batch: Batch, i: Int): Row =
    Row.fromSeq(batch.keys(i) +: job.blobs.map(batch.values(_, i).toSeq))

  def sums(job: InferenceJob, begin: Long, end: Long): Sums =
    if (begin == end) Sums(0, Map.empty)
    else {
      val runner = new NetRunner(job, Some((begin, end)))
      try {
        val total = interruptible(runner.batches).flatMap(batch => Iterator.range(0, batch.rows).map(sum(job, batch, _)))
          .foldLeft(Sums(0, Map.empty))(_ + _)
        if (total.rows != end - begin) {
          throw new CaffeException(s"${total.rows} rows came back for records $begin until $end")
        }
        total
      } finally runner.close()
    }

  def sums(job: InferenceJob, input: Iterator[Seq[Array[Byte]]]): Sums =
    if (input.isEmpty) Sums(0, Map.empty)
    else {
      val runner = new NetRunner(job, None)
      try runner.answer(interruptible(input))(identity)((_, batch, i) => sum(job, batch, i)).foldLeft(Sums(0, Map.empty))(_ + _)
      finally runner.close()
    }

  private def interruptible[A](input: Iterator[A]): Iterator[A] = new InterruptibleIterator(TaskContext.get(), input)

  private def sum(job: InferenceJob, batch: Batch, row: Int): Sums =
    Sums(1, job.blobs.map(name => name -> batch.values(name, row).map(_.toDouble)).toMap)
}
