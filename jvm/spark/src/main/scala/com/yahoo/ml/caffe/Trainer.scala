package com.yahoo.ml.caffe

import java.nio.charset.StandardCharsets.UTF_8
import java.security.SecureRandom
import java.util.UUID

import caffe.Caffe.SolverParameter
import org.apache.hadoop.fs.Path
import org.apache.spark.{SparkConf, SparkContext, SparkException}
import org.slf4j.LoggerFactory

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
    start() match {
      case Left(finished) =>
        val line = s"The run with these arguments has finished; its model is $modelPath"
        println(line)
        Trained(finished.rounds, Nil, Seq(line), finished.iteration, None)
      case Right(begin) => run(begin)
    }
  }

  private def run(begin: Start): Trained = {
    val secret = new Array[Byte](SecretBytes)
    new SecureRandom().nextBytes(secret)
    val settings = sc.getConf
    val host = settings.get("spark.driver.host", "localhost")
    val output = new TrainingOutput(settings, storage, begin.id)
    val runLog = new RunLog(stageName(begin), output.line)
    begin.point.foreach(point => runLog.resumeFrom(point.manifest.iteration))
    val server = ProgressChannel.Server.start(host, settings.get("spark.driver.bindAddress", host), secret,
      () => runLog.saved.toString, text => if (!runLog.line(text)) output.line(text))
    try {
      runLog.follow(sc)
      val reports = trainUntilDone(begin, runLog, output.line)(job(begin, secret, server.map(_.address), _, _, _))
      server.foreach(_.close())
      val lines = summary(reports)
      (lines ++ (if (returnsModel) Nil else Seq(s"Model: $modelPath"))).foreach(output.line)
      output.finish(reports, conf)
      Trained(reports.head.rounds, reports.head.points, lines, reports.head.iterations, reports.head.model)
    } finally {
      server.foreach(_.close())
      runLog.close()
      output.close()
    }
  }

  /** What an interrupted run with these arguments left, if it is wanted; Left where it left nothing to do. */
  private def start(): Either[Manifest, Start] =
    if (returnsModel) Right(startAt(None))
    else {
      val model = modelPath
      val finished = Manifest.read(storage, model.suffix(Manifest.Suffix))
        .filter(manifest => manifest.finished && manifest.arguments == arguments)
      def interrupted(manifest: Manifest) = manifest.arguments == arguments && !finished.exists(_.job == manifest.job)
      val checkpoints = Checkpoints.ofAllJobs(storage, model)
      if (!conf.isResumed) {
        Manifest.all(storage, checkpoints, interrupted).headOption.foreach { point =>
          println(s"${point.path.getParent} has a checkpoint of an interrupted run with these arguments; -resume would go on " +
            s"from its iteration ${point.manifest.iteration}. Remove the folder if it is not wanted")
        }
        Right(startAt(None))
      } else finished.filter(_ => storage.exists(model)).toLeft {
        val found = Manifest.newest(storage, checkpoints :+ snapshotBase(model, solver), interrupted)
        if (found.isEmpty) println(s"-resume: there is nothing to go on from beside $model; training starts")
        found.foreach(point => requireSameWorkers(point.manifest))
        startAt(found)
      }
    }

  private def startAt(point: Option[RestartPoint]): Start = {
    val seed = point.map(_.manifest.seed).orElse(Some(solver.getRandomSeed).filter(_ >= 0)).getOrElse {
      val drawn = new SecureRandom().nextInt(Int.MaxValue).toLong
      log.info("random_seed is {}", drawn)
      drawn
    }
    val forEngine = solverForEngine(seed)
    HostFiles.announce(storage, HostFiles.nets(forEngine))
    Start(point.fold(UUID.randomUUID().toString)(_.manifest.job), forEngine, point)
  }

  private def requireSameWorkers(manifest: Manifest): Unit = if (manifest.world != workers && !conf.isElastic) {
    throw new IllegalArgumentException(s"the interrupted run had ${manifest.world} worker(s), this one has $workers; give the " +
      "same number, or -elastic to go on with another")
  }

  /** Spark runs a failed stage again a few times; after that it is submitted anew, as long as there is progress. */
  private def trainUntilDone(begin: Start, runLog: RunLog, tell: String => Unit)(job: (Int, Placement, Int) => TrainJob)
      : Seq[WorkerReport] = {
    val most = sc.getConf.getInt(MaxRestarts, UsualRestarts)
    var (restart, fruitless, stalled) = (0, 0, false)
    var reports: Option[Seq[WorkerReport]] = None
    while (reports.isEmpty) {
      val saved = runLog.saved
      try {
        val (executors, placement) = if (restart == 0 && begin.point.isEmpty) placeAtStart() else placeAgain(stalled, tell)
        reports = Some(submit(begin, job(executors * conf.devices, placement, restart), placement))
      } catch {
        case e: Exception if Submission.isRecoverable(e) && !sc.isStopped =>
          fruitless = if (runLog.saved > saved) 0 else fruitless + 1
          if (fruitless > most) throw givenUp(e, fruitless)
          log.warn(s"training is submitted anew: ${Failures.oneLine(e)}")
          runLog.failed(Failures.oneLine(e), RunLog.Echo)
          stalled = e.isInstanceOf[StalledException]
          restart += 1
        case e: SparkException => throw Failures.unwrap(e)
      }
    }
    reports.get
  }

  private def givenUp(error: Exception, tries: Int): Exception = new CaffeException(
    s"training failed $tries times in a row without getting further, the last time with: ${Failures.oneLine(error)}", error)

  /** (executors, where on them) */
  private def placeAtStart(): (Int, Placement) = (conf.clusterSize, Cluster.place(sc, conf.clusterSize, conf.devices))

  /** After a failure executors may come back, or, if that is allowed, stay away. */
  private def placeAgain(stalled: Boolean, tell: String => Unit): (Int, Placement) = {
    val wanted = conf.clusterSize
    val seconds = if (stalled) 0 else Cluster.recoveryTimeoutSeconds(sc)
    val found = math.min(wanted, Cluster.awaitExecutors(sc, wanted, seconds))
    if (found < wanted) {
      if (!conf.isElastic || found == 0) {
        throw new IllegalStateException(s"training needs $wanted executors, but after ${Cluster.recoveryTimeoutSeconds(sc)} s " +
          s"Spark has only $found; start more and go on with -resume, or give -elastic to go on with fewer")
      }
      tell(s"Training goes on with $found of $wanted executors (-elastic)")
    }
    (found, Cluster.place(sc, found, conf.devices))
  }

  private def submit(begin: Start, job: TrainJob, placement: Placement): Seq[WorkerReport] = {
    log.info(s"training ${job.id}: ${job.world} worker(s), model ${job.model}")
    val rows = RowSpool.partition(sc, rowSources.map { case (layer, source) => (layer.tag, source.rows(sc)) }, job.world)
    new Submission(sc, job, stageName(begin)).run(placement, rows)
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

  private def job(begin: Start, secret: Array[Byte], progress: Option[ProgressChannel.Address], world: Int,
      placement: Placement, restart: Int): TrainJob = {
    val model = modelPath
    val weights =
      if (conf.snapshotModelFile.nonEmpty) conf.snapshotModelFile.split(',').map(_.trim).filter(_.nonEmpty).toSeq
      else (0 until solver.getWeightsCount).flatMap(solver.getWeights(_).split(',')).map(_.trim).filter(_.nonEmpty)
    TrainJob(
      id = begin.id,
      world = world,
      solver = begin.solver.toByteArray,
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
        (if (conf.resize) Seq("resize" -> "1") else Nil) ++ Trainer.memoryLimit(sc.getConf) + Precision.option(conf.precision),
      hadoop = new HadoopSettings(sc.hadoopConfiguration),
      progress = progress,
      memoryOverhead = ProcessMemory.overhead(sc.getConf, sc.master),
      stopping = if (validate) stopping else None,
      returnsModel = returnsModel,
      arguments = arguments,
      checkpointMillis = checkpointMillis,
      restart = restart,
      resumes = begin.point.isDefined)
  }

  /** A hash of what was asked for: the same for the same arguments and files, however many workers there are. */
  private lazy val arguments: String = {
    val text = Seq(validate, modelPath, conf.snapshotModelFile, conf.snapshotStateFile, conf.resize, conf.precision) ++
      rowSources.map { case (layer, _) => layer.source }
    val messages = Seq(solver.toByteArray, conf.netParam.toByteArray, conf.testNetParam.toByteArray)
    val parts = messages :+ text.mkString("\n").getBytes(UTF_8)
    Manifest.sha256(parts.map(Manifest.sha256(_)).mkString.getBytes(UTF_8))
  }

  private def checkpointMillis: Long = {
    val millis = if (returnsModel) 0 else sc.getConf.getTimeAsMs(Checkpoints.Interval, UsualInterval)
    if (millis < 0) throw new IllegalArgumentException(s"${Checkpoints.Interval} must not be negative")
    millis
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
  private def solverForEngine(seed: Long): SolverParameter = {
    val out = solver.toBuilder.clearNet().clearNetParam().clearTrainNet().clearTrainNetParam().clearTestNet()
      .clearTestNetParam().clearWeights().setRandomSeed(seed)
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
  /** How much memory blobs of training may take, in Spark's words. */
  val MemoryLimit = "spark.caffe.memoryLimit"
  /** Spark property: how often training is submitted anew without having got further in between. */
  val MaxRestarts = "spark.caffe.maxRestarts"
  private val UsualRestarts = 3
  private val UsualInterval = "60s"
  private val SecretBytes = 32

  /** A run that begins: under which id, with which solver for the engine, and where an interrupted one left off. */
  private final case class Start(id: String, solver: SolverParameter, point: Option[RestartPoint])

  private def stageName(begin: Start): String = s"CaffeOnSpark training ${begin.id}"

  private val log = LoggerFactory.getLogger(classOf[Trainer])

  /** -model, with the ending that snapshot_format asks for. */
  def modelPath(storage: Storage, conf: Config): Path = {
    val name = conf.modelPath.stripSuffix(".h5") + Training.suffix(conf.solverParameter)
    storage.resolve(name)
  }

  def memoryLimit(conf: SparkConf): Map[String, String] =
    conf.getOption(MemoryLimit).map { _ =>
      val bytes = try conf.getSizeAsBytes(MemoryLimit)
      catch {
        case _: NumberFormatException =>
          throw new IllegalArgumentException(s"$MemoryLimit is a number of bytes like 2g, not ${conf.get(MemoryLimit)}")
      }
      "memory_limit" -> bytes.toString
    }.toMap

  /** Snapshots lie beside the model, by the solver's snapshot_prefix. */
  def snapshotBase(model: Path, solver: SolverParameter): Path = new Path(model.getParent, solver.getSnapshotPrefix)
}
