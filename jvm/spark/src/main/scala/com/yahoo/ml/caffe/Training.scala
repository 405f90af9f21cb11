package com.yahoo.ml.caffe

import java.nio.file.{Files, Path => LocalPath}
import java.util.Locale
import java.util.concurrent.{Callable, ExecutionException, Executors, Future, TimeUnit}

import caffe.Caffe.SolverParameter
import com.yahoo.ml.caffe.engine.{Progress, Solver}
import org.apache.hadoop.fs.Path
import org.slf4j.LoggerFactory

import scala.collection.mutable
import scala.util.control.NonFatal

/** What a worker has done since it began. */
private final case class Totals(records: Long, seconds: Double, dataSeconds: Double, communicationSeconds: Double)

/**
 * The loop of one worker: steps, validation rounds and snapshots in Caffe's order. `earlier` is what it goes on from, if
 * anything; `bestModel` a file for the weights of the best validation round.
 */
private[caffe] final class Training(job: TrainJob, rank: Int, where: String, solver: Solver, parameter: SolverParameter,
    storage: Storage, folder: LocalPath, progress: ProgressChannel.Client, earlier: Option[Manifest], bestModel: LocalPath) {
  private val first = rank == 0
  private val begin = solver.iteration
  private val end = solver.maxIteration
  private val interval = if (job.validate) parameter.getTestInterval.toLong else 0L
  private val display = parameter.getDisplay.toLong
  private val snapshotEvery = parameter.getSnapshot.toLong
  private val perIteration = Training.recordsPerIteration(parameter) * job.world
  private val rounds = mutable.Buffer(earlier.toSeq.flatMap(_.rounds): _*)
  private val started = System.nanoTime()
  private val points = mutable.Buffer.empty[TrainingPoint]
  private val stopping = job.stopping.map(new StoppingRule(_))
  private val atStart = ProcessMemory.now()
  private val checkpoints = job.checkpoints(storage)
  private var saved = System.nanoTime()
  private var totals, atPoint = Totals(0, 0, 0, 0)
  stopping.foreach(rule => rounds.foreach(round => rule.judge(round.outputs)))

  /** For this worker's log, in the words of Caffe's, which its users' scripts look for. */
  private def log(line: String): Unit = Training.log.info(s"$where: $line")

  private def tell(line: String): Unit = {
    log(line)
    progress.send(line)
  }

  def run(): WorkerReport = {
    val uploads = new Uploads
    try {
      if (first) progress.send(ProcessMemory.line("worker 0", atStart, job.memoryOverhead))
      var iteration = begin
      var going = true
      while (going && iteration < end) {
        if (validates(iteration)) going = validate(iteration)
        if (going) {
          val until = nextStop(iteration)
          val saving = savingAt(until, uploads)
          if (saving.isDefined) solver.keepState()
          step(iteration, until)
          iteration = until
          if (first) progress.send(RunLog.At + iteration)
          saving.foreach(_.apply())
        }
      }
      if (going && validates(iteration)) validate(iteration)
      uploads.finish()
      val model = if (first) writeModel(iteration) else None
      if (first && !job.returnsModel) cleanUp()
      WorkerReport(rank, where, iteration - begin, totals.records, totals.seconds, totals.dataSeconds,
        totals.communicationSeconds, if (first) rounds.toSeq else Nil, points.toSeq, atStart.max(ProcessMemory.now()), model,
        if (first) layerTimes else Nil)
    } finally uploads.close()
  }

  private def layerTimes: Seq[LayerTime] = {
    val times = solver.layerTimes()
    times.names.toSeq.zip(times.values).map { case (name, both) => LayerTime(name, both(0), both(1)) }
  }

  private def isDue(iteration: Long, every: Long): Boolean = every > 0 && iteration % every == 0

  private def validates(iteration: Long): Boolean =
    isDue(iteration, interval) && (iteration > 0 || parameter.getTestInitialization)

  /** Where the loop looks up next: all workers at what is due for all, each when it likes in between. */
  private def nextStop(iteration: Long): Long = {
    val boundaries = Seq(interval, display, snapshotEvery).filter(_ > 0).map(every => (iteration / every + 1) * every)
    (boundaries :+ end :+ (iteration + longest)).min
  }

  private def step(iteration: Long, until: Long): Unit = {
    val done = solver.step(until - iteration)
    totals = Totals(totals.records + done.records, totals.seconds + done.seconds, totals.dataSeconds + done.dataSeconds,
      totals.communicationSeconds + done.communicationSeconds)
    TrainingMetrics.waited(done.dataSeconds, done.communicationSeconds)
    if (isDue(done.iteration, display) || done.iteration == end && display > 0) report(done)
  }

  // Worker 0 looks up about once a second to see whether a checkpoint is due; workers need not look up together.
  private def longest: Long = if (!first) Training.LongestStep else {
    val perSecond = (solver.iteration - begin) / math.max(1e-3, totals.seconds)
    val seconds = if (job.checkpointMillis > 0) math.min(1.0, job.checkpointMillis / 4000.0) else 1.0
    math.max(1L, math.min(Training.LongestStep, (perSecond * seconds).toLong))
  }

  private def report(done: Progress): Unit = {
    val since = math.max(1e-9, totals.seconds - atPoint.seconds)
    val point = TrainingPoint(done.iteration, done.smoothedLoss, done.learningRate,
      (totals.records - atPoint.records) * job.world / since, (totals.dataSeconds - atPoint.dataSeconds) / since,
      (totals.communicationSeconds - atPoint.communicationSeconds) / since)
    atPoint = totals
    TrainingMetrics.current = Some(point)
    log(s"Iteration ${done.iteration}, loss = ${Training.short(done.smoothedLoss)}, lr = ${Training.short(done.learningRate)}")
    if (first) {
      points += point
      val left = (System.nanoTime() - started) / 1e9 / (done.iteration - begin) * (end - done.iteration)
      progress.send(point.line)
      progress.send(Training.line(done.iteration, end, done.smoothedLoss, done.learningRate, point.imagesPerSecond, left))
    }
  }

  /** False where training shall stop; every worker gets the same outputs, so all decide alike. */
  private def validate(iteration: Long): Boolean = {
    val all = (0 until solver.testNets).map { net =>
      val outputs = solver.test(net)
      val named = outputs.names.toSeq.zip(outputs.values)
      if (first) show(iteration, net, named)
      named
    }
    val verdict = stopping.flatMap(rule => all.headOption.map(rule.judge))
    if (first && verdict.contains(StoppingRule.Better)) solver.snapshot(bestModel.toString, null, null)
    val stop = verdict.contains(StoppingRule.Stop)
    if (stop && first) tell(s"Iteration $iteration, stopping early: ${stopping.get}")
    !stop
  }

  private def show(iteration: Long, net: Int, named: Seq[(String, Array[Float])]): Unit = {
    if (net == 0) {
      val round = Round(iteration, named)
      rounds += round
      progress.send(Training.RoundMark + round.line)
    }
    tell(s"Iteration $iteration, Testing net (#$net)")
    val values = named.flatMap { case (name, floats) => floats.map(name -> _) }
    for (((name, value), i) <- values.zipWithIndex) tell(s"    Test net output #$i: $name = ${Training.short(value)}")
  }

  /** What worker 0 will write at an iteration. It must be known before: then the other workers send their part of the state. */
  private def savingAt(iteration: Long, uploads: Uploads): Option[() => Unit] = {
    def checkpointIsDue = job.checkpointMillis > 0 && System.nanoTime() - saved > job.checkpointMillis * 1000000L
    if (!first) None
    else if (isDue(iteration, snapshotEvery)) Some(() => snapshot(iteration, uploads))
    else if (checkpointIsDue && iteration < end && uploads.isFree) Some(() => checkpoint(iteration, uploads))
    else None
  }

  /** Rank 0 writes to its own disk, and goes on training while the files travel. */
  private def snapshot(iteration: Long, uploads: Uploads): Unit = {
    uploads.finish()
    val base = new Path(s"${job.snapshotBase}_iter_$iteration")
    val files = writeLocally(base.getName, model => Training.plainName(new Path(base.getParent, model)))
    val roundsSoFar = rounds.toSeq
    uploads.start { () =>
      val described = files.map { file =>
        storage.publish(file, new Path(base.getParent, file.getFileName.toString))
        Manifest.describe(file, file.getFileName.toString)
      }
      storage.writeText(manifest(iteration, finished = false, described, roundsSoFar).text, base.suffix(Manifest.Suffix))
      files.foreach(Files.delete)
      log(s"Snapshotting to ${described.map(file => new Path(base.getParent, file.name)).mkString(", ")}")
      progress.send(RunLog.Saved + iteration)
    }
  }

  /** A failure costs nothing but the checkpoint. */
  private def checkpoint(iteration: Long, uploads: Uploads): Unit = {
    uploads.finish()
    val name = Checkpoints.baseName(iteration)
    def tolerated(body: => Unit): Unit =
      try body
      catch {
        case NonFatal(e) =>
          localFiles(name).foreach(Files.deleteIfExists(_))
          tell(s"The checkpoint of iteration $iteration could not be written, training goes on: " +
            Failures.describe(e))
      }
    tolerated {
      val files = writeLocally(name, model => model)
      val roundsSoFar = rounds.toSeq
      uploads.start { () =>
        tolerated {
          checkpoints.write(files, described => manifest(iteration, finished = false, described, roundsSoFar))
          files.foreach(Files.delete)
          progress.send(RunLog.Saved + iteration)
        }
      }
    }
  }

  /** Model, state and the best model of a snapshot. */
  private def localFiles(name: String): Seq[LocalPath] = Seq("caffemodel", "solverstate", "best.caffemodel")
    .map(kind => folder.resolve(s"$name.$kind${Training.suffix(parameter)}"))

  /** Those of them that there are; `learnedNet`: what the state calls the model, by its file's name. */
  private def writeLocally(name: String, learnedNet: String => String): Seq[LocalPath] = {
    saved = System.nanoTime()
    val files @ Seq(model, state, best) = localFiles(name)
    solver.snapshot(model.toString, state.toString, learnedNet(model.getFileName.toString))
    if (Files.exists(bestModel)) Files.copy(bestModel, best)
    files.filter(Files.exists(_))
  }

  /** The weights of the best validation round, if training may stop early; else the last ones. To a file, or as the result. */
  private def writeModel(end: Long): Option[Array[Byte]] = {
    val target = new Path(job.model)
    val best = stopping.isDefined && Files.exists(bestModel)
    val local = if (best) bestModel else folder.resolve("final-" + target.getName)
    if (!best) solver.snapshot(local.toString, null, null)
    if (job.returnsModel) Some(Files.readAllBytes(local))
    else {
      storage.publish(local, target)
      val files = Seq(Manifest.describe(local, target.getName))
      storage.writeText(manifest(end, finished = true, files, rounds.toSeq).text, job.manifestOfModel)
      None
    }
  }

  /** The model is there: whatever cannot be removed now does no harm. */
  private def cleanUp(): Unit =
    try {
      checkpoints.delete()
      storage.removeTemporary(new Path(job.model).getParent)
    } catch {
      case NonFatal(e) => tell(s"Checkpoints beside ${job.model} could not be removed: ${Failures.describe(e)}")
    }

  private def manifest(iteration: Long, finished: Boolean, files: Seq[ManifestFile], rounds: Seq[Round]): Manifest = {
    val before = earlier.fold(begin * perIteration)(_.position)
    Manifest(job.id, finished, iteration, before + (iteration - begin) * perIteration, parameter.getRandomSeed, job.world,
      job.arguments, files, rounds)
  }

  /** At most one upload at a time; its failure is thrown by `finish`. */
  private final class Uploads extends AutoCloseable {
    private val thread = Executors.newSingleThreadExecutor { (task: Runnable) =>
      val thread = new Thread(task, "caffe-snapshot")
      thread.setDaemon(true)
      thread
    }
    private var running: Option[Future[Unit]] = None

    def isFree: Boolean = running.forall(_.isDone)

    def start(upload: () => Unit): Unit = running = Some(thread.submit((() => upload()): Callable[Unit]))

    def finish(): Unit = {
      try running.foreach(_.get())
      catch { case e: ExecutionException => throw e.getCause }
      running = None
    }

    override def close(): Unit = {
      thread.shutdownNow()
      thread.awaitTermination(Training.UploadPatienceSeconds, TimeUnit.SECONDS)
    }
  }
}

private[caffe] object Training {
  private val log = LoggerFactory.getLogger(classOf[Training])
  /** Iterations after which a worker looks up from native code at the latest. */
  private val LongestStep = 1000L
  /** In front of a validation round, among the lines of a ProgressChannel. */
  val RoundMark = "@"
  private val UploadPatienceSeconds = 30L

  /** What Caffe puts behind the names of its files. */
  def suffix(solver: SolverParameter): String =
    if (solver.getSnapshotFormat == SolverParameter.SnapshotFormat.HDF5) ".h5" else ""

  /** What a solver state says about its weights: a path that any Caffe can open where the file is local. */
  private def plainName(path: Path): String =
    if (path.toUri.getScheme == "file") path.toUri.getPath else path.toString

  /** Records that a worker takes in one iteration. */
  def recordsPerIteration(solver: SolverParameter): Long = solver.getIterSize * batchSize(solver)

  private def batchSize(solver: SolverParameter): Long = {
    val net = if (solver.hasTrainNetParam) solver.getTrainNetParam else solver.getNetParam
    val layer = Nets.dataLayer(net, Nets.trainState(solver, net))
    if (layer < 0) 0L else Nets.batchSize(net.getLayer(layer)).toLong
  }

  def line(iteration: Long, end: Long, loss: Double, rate: Double, imagesPerSecond: Double, secondsLeft: Double): String = {
    val left = math.round(secondsLeft)
    String.format(Locale.ROOT, "Iteration %d of %d, loss = %s, lr = %s, %.1f images/s, ETA %d:%02d:%02d",
      Long.box(iteration), Long.box(end), short(loss), short(rate), Double.box(imagesPerSecond),
      Long.box(left / 3600), Long.box(left / 60 % 60), Long.box(left % 60))
  }

  /** Six digits, as Caffe's logs have them. */
  def short(value: Double): String =
    if (value.isNaN || value.isInfinite) value.toString
    else {
      val rounded = new java.math.BigDecimal(value, new java.math.MathContext(6)).stripTrailingZeros
      if (value != 0 && math.abs(value) < 1e-4) rounded.toString else rounded.toPlainString
    }
}
