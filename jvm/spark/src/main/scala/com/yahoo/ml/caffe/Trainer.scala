package com.yahoo.ml.caffe

import java.security.SecureRandom
import java.util.UUID
import java.util.concurrent.TimeoutException

import caffe.Caffe.SolverParameter
import org.apache.hadoop.fs.Path
import org.apache.spark.{FutureAction, HashPartitioner, SparkContext}
import org.slf4j.LoggerFactory

import scala.concurrent.Await
import scala.concurrent.duration._

/** What a training run gave beside its model. */
private[caffe] final case class Trained(rounds: Seq[Round], points: Seq[TrainingPoint], summary: Seq[String], iterations: Long,
    model: Option[Array[Byte]])

/**
 * The driver's side of a training run. With `returnsModel` the model is part of the result, and nothing is written: no folder
 * that all hosts see is needed.
 */
private[caffe] final class Trainer(sc: SparkContext, conf: Config, validate: Boolean, sources: Seq[DataSource[_, _]],
    stopping: Option[EarlyStopping], returnsModel: Boolean = false) {
  import Trainer._

  private val storage = new Storage(sc.hadoopConfiguration)
  private val solver = conf.solverParameter
  private val workers = conf.clusterSize * conf.devices
  private val trainState = Nets.trainState(solver, conf.netParam)
  private val testStates = Nets.testStates(solver, conf.testNetParam)
  private val separateNets = solver.hasTrainNet || solver.hasTrainNetParam || solver.getTestNetCount > 0 ||
    solver.getTestNetParamCount > 0

  /** Trains and writes the model. */
  def run(): Trained = {
    requireSettings()
    val placement = Cluster.place(sc, conf.clusterSize, conf.devices)
    val secret = new Array[Byte](SecretBytes)
    new SecureRandom().nextBytes(secret)
    val settings = sc.getConf
    val host = settings.get("spark.driver.host", "localhost")
    val id = UUID.randomUUID().toString
    val output = new TrainingOutput(settings, storage, id)
    val server = ProgressChannel.Server.start(host, settings.get("spark.driver.bindAddress", host), secret, output.line)
    try {
      val reports = submit(job(id, secret, placement, server.map(_.address)), placement)
      server.foreach(_.close())
      val lines = summary(reports)
      (lines ++ (if (returnsModel) Nil else Seq(s"Model: $modelPath"))).foreach(output.line)
      output.finish(reports, conf)
      Trained(reports.head.rounds, reports.head.points, lines, reports.head.iterations, reports.head.model)
    } finally {
      server.foreach(_.close())
      output.close()
    }
  }

  def modelPath: Path = Trainer.modelPath(storage, conf)

  private def requireSettings(): Unit = {
    if (conf.modelPath.isEmpty) throw new IllegalArgumentException("-model is missing; say where the trained model goes")
    if (conf.snapshotStateFile.nonEmpty && conf.snapshotModelFile.isEmpty) {
      throw new IllegalStateException("-snapshot needs -weights, the .caffemodel that was written with the solver state")
    }
    if (!solver.hasMaxIter) throw new IllegalArgumentException(s"${conf.protoFile} has no max_iter")
    if (validate && (solver.getTestInterval < 1 || solver.getTestIterCount == 0)) {
      throw new IllegalArgumentException(s"${conf.protoFile}: validation needs test_interval and test_iter")
    }
  }

  private def job(id: String, secret: Array[Byte], placement: Placement, progress: Option[ProgressChannel.Address]): TrainJob = {
    val model = modelPath
    val weights =
      if (conf.snapshotModelFile.nonEmpty) conf.snapshotModelFile.split(',').map(_.trim).filter(_.nonEmpty).toSeq
      else (0 until solver.getWeightsCount).flatMap(solver.getWeights(_).split(',')).map(_.trim).filter(_.nonEmpty)
    val engineSolver = solverForEngine()
    HostFiles.announce(storage, HostFiles.nets(engineSolver))
    TrainJob(
      id = id,
      world = workers,
      solver = engineSolver.toByteArray,
      validate = validate,
      secret = secret,
      group = GroupSettings.options(sc.getConf, conf.transport),
      timeoutMillis = GroupSettings.connectMillis(sc.getConf),
      executorCores = placement.executorCores,
      model = model.toString,
      snapshotBase = snapshotBase(model, solver).toString,
      weights = weights.map(storage.resolve(_).toString),
      state = if (conf.snapshotStateFile.isEmpty) "" else storage.resolve(conf.snapshotStateFile).toString,
      rows = rowSources.map { case (layer, _) => layer },
      engineOptions = Map("data_threads" -> Inference.dataThreads(conf, placement.executorCores / conf.devices).toString) ++
        (if (conf.resize) Seq("resize" -> "1") else Nil),
      hadoop = new HadoopSettings(sc.hadoopConfiguration),
      progress = progress,
      memoryOverhead = ProcessMemory.overhead(sc.getConf, sc.master),
      stopping = if (validate) stopping else None,
      returnsModel = returnsModel)
  }

  /** The layers that are fed with rows, each with its source. In a net that both phases share, a layer of both is one. */
  private lazy val rowSources: Seq[(RowLayer, DataSource[_, _])] = {
    def of(isTrain: Boolean): Seq[(RowLayer, DataSource[_, _])] = {
      val (net, states) = if (isTrain) (conf.netParam, Seq(trainState)) else (conf.testNetParam, testStates)
      Nets.rowLayers(net, states, conf.resize).map { i =>
        val source = sources.find(s => s.isTrain == isTrain && s.layerId == i).getOrElse(DataSource.ofLayer(conf, i, isTrain))
        (RowLayer(tag(i, isTrain), Nets.describe(net.getLayer(i)), source.describe), source)
      }
    }
    val train = of(isTrain = true)
    train ++ (if (validate) of(isTrain = false).filterNot { case (layer, _) => train.exists(_._1.tag == layer.tag) } else Nil)
  }

  private def tag(layer: Int, isTrain: Boolean): Int =
    if (isTrain || !separateNets) layer else conf.netParam.getLayerCount + layer

  /** The networks inside, with local absolute paths; without test nets where there is no validation. */
  private def solverForEngine(): SolverParameter = {
    val out = solver.toBuilder.clearNet().clearNetParam().clearTrainNet().clearTrainNetParam().clearTestNet()
      .clearTestNetParam().clearWeights()
    if (solver.getRandomSeed < 0) {
      out.setRandomSeed(new SecureRandom().nextInt(Int.MaxValue).toLong)
      log.info("random_seed is {}", out.getRandomSeed)
    }
    if (separateNets) {
      out.setTrainNetParam(Nets.forEngine(conf.netParam, Seq(trainState), conf.resize, tag(_, isTrain = true)))
      if (validate) {
        out.addTestNetParam(Nets.forEngine(conf.testNetParam, testStates, conf.resize, tag(_, isTrain = false)))
      }
    } else {
      val states = if (validate) trainState +: testStates else Seq(trainState)
      out.setNetParam(Nets.forEngine(conf.netParam, states, conf.resize, tag(_, isTrain = true)))
    }
    if (!validate) out.clearTestIter().clearTestInterval().clearTestState()
    out.build()
  }

  private def submit(job: TrainJob, placement: Placement): Seq[WorkerReport] = {
    log.info(s"training ${job.id}: ${job.world} worker(s), model ${job.model}")
    // The shuffle makes this a map stage: Spark runs a failed barrier map stage again, but never a barrier result stage.
    val rows = RowSpool.partition(sc, rowSources.map { case (layer, source) => (layer.tag, source.rows(sc)) }, job.world)
    val barrier = placement(rows).barrier().mapPartitions(part => Worker.run(job, part))
    val results = barrier.map(bytes => (0, bytes)).partitionBy(new HashPartitioner(1)).values.collectAsync()
    val decoded = Failures.explained(await(results, job.world)).map(Results.decode[WorkerReport](_))
    decoded.collectFirst { case Left(failure) => failure }.foreach(failure => throw failure.exception)
    decoded.collect { case Right(report) => report }.sortBy(_.rank)
  }

  /** A barrier stage that Spark has no room for waits for minutes without a word; it is given up instead. */
  private def await(results: FutureAction[Seq[Array[Byte]]], workers: Int): Seq[Array[Byte]] = {
    val seconds = Cluster.startTimeoutSeconds(sc)
    val deadline = System.nanoTime() + seconds.seconds.toNanos
    var started = false
    try {
      while (!results.isCompleted) {
        try Await.ready(results, 200.millis)
        catch { case _: TimeoutException => () }
        started = started || hasStarted(results)
        if (!started && !results.isCompleted && System.nanoTime() > deadline) {
          throw new IllegalStateException(s"$workers workers could not be started together within $seconds s; free task " +
            s"slots, lower -clusterSize, or raise ${Cluster.StartTimeout}")
        }
      }
      Await.result(results, Duration.Inf)
    } finally if (!results.isCompleted) results.cancel()
  }

  private def hasStarted(results: FutureAction[_]): Boolean = results.jobIds.exists { id =>
    sc.statusTracker.getJobInfo(id).toSeq.flatMap(_.stageIds()).flatMap(sc.statusTracker.getStageInfo(_)).exists { stage =>
      stage.numActiveTasks() + stage.numCompletedTasks() + stage.numFailedTasks() > 0
    }
  }

  private def largest(reports: Seq[WorkerReport]): String = {
    val one = reports.maxBy(_.memory.native)
    ProcessMemory.line(one.where, one.memory, ProcessMemory.overhead(sc.getConf, sc.master))
  }

  private def summary(reports: Seq[WorkerReport]): Seq[String] = {
    val seconds = reports.map(_.seconds).max
    val records = reports.map(_.records).sum
    if (seconds <= 0) Nil
    else {
      val whole = f"Trained ${reports.head.iterations}%d iterations on $records%d images in $seconds%.1f s: " +
        f"${records / seconds}%.1f images/s"
      whole +: reports.map { r =>
        f"    ${r.where}: ${r.records}%d images, waiting for data ${100 * r.dataSeconds / r.seconds}%.1f %%, " +
          f"for other workers ${100 * r.communicationSeconds / r.seconds}%.1f %%"
      } :+ largest(reports)
    }
  }
}

private[caffe] object Trainer {
  private val SecretBytes = 32
  private val log = LoggerFactory.getLogger(classOf[Trainer])

  /** -model, with the ending that snapshot_format asks for. */
  def modelPath(storage: Storage, conf: Config): Path = {
    val name = conf.modelPath.stripSuffix(".h5") + Training.suffix(conf.solverParameter)
    storage.resolve(name)
  }

  /** Snapshots lie beside the model, by the solver's snapshot_prefix. */
  def snapshotBase(model: Path, solver: SolverParameter): Path = new Path(model.getParent, solver.getSnapshotPrefix)
}
