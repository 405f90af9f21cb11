package com.yahoo.ml.caffe

import java.nio.file.{Files, Path => LocalPath}
import java.util.Locale
import java.util.concurrent.{Callable, ExecutionException, Executors, Future, TimeUnit}

import caffe.Caffe.SolverParameter
import com.yahoo.ml.caffe.engine.{Progress, Solver}
import org.apache.hadoop.fs.Path
import org.apache.spark.BarrierTaskContext

import scala.collection.mutable

/** What a worker has done since it began. */
private final case class Totals(records: Long, seconds: Double, dataSeconds: Double, communicationSeconds: Double)

/** The loop of one worker: steps, validation rounds and snapshots in Caffe's order. */
private[caffe] final class Training(job: TrainJob, context: BarrierTaskContext, rank: Int, where: String, solver: Solver,
    parameter: SolverParameter, storage: Storage, folder: LocalPath, earlierRounds: Seq[Round]) {
  private val first = rank == 0
  private val begin = solver.iteration
  private val end = solver.maxIteration
  private val interval = if (job.validate) parameter.getTestInterval.toLong else 0L
  private val display = parameter.getDisplay.toLong
  private val snapshotEvery = parameter.getSnapshot.toLong
  private val rounds = mutable.Buffer(earlierRounds: _*)
  private val started = System.nanoTime()
  private val points = mutable.Buffer.empty[TrainingPoint]
  private val stopping = job.stopping.map(new StoppingRule(_))
  private lazy val bestModel = folder.resolve("best-" + new Path(job.model).getName)
  private val atStart = ProcessMemory.now()
  private var totals, atPoint = Totals(0, 0, 0, 0)

  def run(): WorkerReport = {
    val progress = new ProgressChannel.Client(if (first) job.progress else None, job.secret)
    val uploads = new Uploads
    try {
      if (first) progress.send(ProcessMemory.line("worker 0", atStart, job.memoryOverhead))
      var iteration = begin
      var going = true
      while (going && iteration < end) {
        if (validates(iteration)) going = validate(iteration, progress)
        if (going) {
          iteration = step(iteration, progress)
          if (first && isDue(iteration, snapshotEvery)) snapshot(iteration, uploads)
        }
      }
      if (going && validates(iteration)) validate(iteration, progress)
      uploads.finish()
      val model = if (first) writeModel(iteration) else None
      WorkerReport(rank, where, iteration - begin, totals.records, totals.seconds, totals.dataSeconds,
        totals.communicationSeconds, if (first) rounds.toSeq else Nil, points.toSeq, atStart.max(ProcessMemory.now()), model)
    } finally {
      uploads.close()
      progress.close()
    }
  }

  private def isDue(iteration: Long, every: Long): Boolean = every > 0 && iteration % every == 0

  private def validates(iteration: Long): Boolean =
    isDue(iteration, interval) && (iteration > 0 || parameter.getTestInitialization)

  private def step(iteration: Long, progress: ProgressChannel.Client): Long = {
    val boundaries = Seq(interval, display, snapshotEvery).filter(_ > 0).map(every => (iteration / every + 1) * every)
    val until = (boundaries :+ end :+ (iteration + Training.LongestStep)).min
    val done = solver.step(until - iteration)
    totals = Totals(totals.records + done.records, totals.seconds + done.seconds, totals.dataSeconds + done.dataSeconds,
      totals.communicationSeconds + done.communicationSeconds)
    if (isDue(done.iteration, display) || done.iteration == end && display > 0) report(done, progress)
    done.iteration
  }

  private def report(done: Progress, progress: ProgressChannel.Client): Unit = {
    val since = math.max(1e-9, totals.seconds - atPoint.seconds)
    val point = TrainingPoint(done.iteration, done.smoothedLoss, done.learningRate,
      (totals.records - atPoint.records) * job.world / since, (totals.dataSeconds - atPoint.dataSeconds) / since,
      (totals.communicationSeconds - atPoint.communicationSeconds) / since)
    atPoint = totals
    TrainingMetrics.current = Some(point)
    if (first) {
      points += point
      val left = (System.nanoTime() - started) / 1e9 / (done.iteration - begin) * (end - done.iteration)
      progress.send(point.line)
      progress.send(Training.line(done.iteration, end, done.smoothedLoss, done.learningRate, point.imagesPerSecond, left))
    }
  }

  /** False where training shall stop; every worker gets the same outputs, so all decide alike. */
  private def validate(iteration: Long, progress: ProgressChannel.Client): Boolean = {
    val all = (0 until solver.testNets).map { net =>
      val outputs = solver.test(net)
      val named = outputs.names.toSeq.zip(outputs.values)
      if (first) show(iteration, net, named, progress)
      named
    }
    val verdict = stopping.flatMap(rule => all.headOption.map(rule.judge))
    if (first && verdict.contains(StoppingRule.Better)) solver.snapshot(bestModel.toString, null, null)
    val stop = verdict.contains(StoppingRule.Stop)
    if (stop && first) progress.send(s"Iteration $iteration, stopping early: ${stopping.get}")
    !stop
  }

  private def show(iteration: Long, net: Int, named: Seq[(String, Array[Float])], progress: ProgressChannel.Client): Unit = {
    if (net == 0) {
      rounds --= rounds.filter(_.iteration == iteration) // from before a restart
      val round = Round(iteration, named)
      rounds += round
      progress.send(Training.RoundMark + round.line)
    }
    progress.send(s"Iteration $iteration, Testing net (#$net)")
    val values = named.flatMap { case (name, floats) => floats.map(name -> _) }
    for (((name, value), i) <- values.zipWithIndex) progress.send(s"    Test net output #$i: $name = ${Training.short(value)}")
  }

  /** Rank 0 writes to its own disk, and goes on training while the files travel. */
  private def snapshot(iteration: Long, uploads: Uploads): Unit = {
    uploads.finish()
    val base = new Path(s"${job.snapshotBase}_iter_$iteration")
    val suffix = Training.suffix(parameter)
    val model = base.suffix(s".caffemodel$suffix")
    val state = base.suffix(s".solverstate$suffix")
    val localModel = folder.resolve(model.getName)
    val localState = folder.resolve(state.getName)
    solver.snapshot(localModel.toString, localState.toString, Training.plainName(model))
    val roundsSoFar = rounds.toSeq
    uploads.start { () =>
      storage.publish(localModel, model)
      storage.publish(localState, state)
      val files = Seq(Manifest.describe(localModel, model.getName), Manifest.describe(localState, state.getName))
      storage.writeText(manifest(iteration, finished = false, files, roundsSoFar).text, base.suffix(Manifest.Suffix))
      Seq(localModel, localState).foreach(Files.delete)
    }
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

  private def manifest(iteration: Long, finished: Boolean, files: Seq[ManifestFile], rounds: Seq[Round]): Manifest = {
    val batch = Training.batchSize(parameter)
    val position = iteration * parameter.getIterSize * job.world * batch
    Manifest(job.id, finished, iteration, position, parameter.getRandomSeed, job.world, files, rounds)
  }

  /** At most one upload at a time; its failure is thrown by `finish`. */
  private final class Uploads extends AutoCloseable {
    private val thread = Executors.newSingleThreadExecutor { (task: Runnable) =>
      val thread = new Thread(task, "caffe-snapshot")
      thread.setDaemon(true)
      thread
    }
    private var running: Option[Future[Unit]] = None

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
