package com.yahoo.ml.caffe

import java.nio.file.{Path => LocalPath}
import java.util.Locale
import java.util.concurrent.{Callable, ExecutionException, Executors, Future, TimeUnit}

import caffe.Caffe.SolverParameter
import com.yahoo.ml.caffe.engine.Solver
import org.apache.hadoop.fs.Path
import org.apache.spark.BarrierTaskContext

import scala.collection.mutable

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
  private var records, recordsAtLine = 0L
  private var seconds, secondsAtLine, dataSeconds, communicationSeconds = 0.0

  def run(): WorkerReport = {
    val progress = new ProgressChannel.Client(if (first) job.progress else None, job.secret)
    val uploads = new Uploads
    try {
      var iteration = begin
      while (iteration < end) {
        if (validates(iteration)) validate(iteration, progress)
        iteration = step(iteration, progress)
        if (first && isDue(iteration, snapshotEvery)) snapshot(iteration, uploads)
      }
      if (validates(end)) validate(end, progress)
      uploads.finish()
      if (first) writeModel()
      WorkerReport(rank, where, end - begin, records, seconds, dataSeconds, communicationSeconds,
        if (first) rounds.toSeq else Nil)
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
    records += done.records
    seconds += done.seconds
    dataSeconds += done.dataSeconds
    communicationSeconds += done.communicationSeconds
    if (first && (isDue(done.iteration, display) || done.iteration == end && display > 0)) {
      val rate = (records - recordsAtLine) * job.world / math.max(1e-9, seconds - secondsAtLine)
      val left = (System.nanoTime() - started) / 1e9 / (done.iteration - begin) * (end - done.iteration)
      progress.send(Training.line(done.iteration, end, done.smoothedLoss, done.learningRate, rate, left))
      recordsAtLine = records
      secondsAtLine = seconds
    }
    done.iteration
  }

  private def validate(iteration: Long, progress: ProgressChannel.Client): Unit =
    for (net <- 0 until solver.testNets) {
      val outputs = solver.test(net)
      if (first) {
        val named = outputs.names.toSeq.zip(outputs.values)
        if (net == 0) {
          rounds --= rounds.filter(_.iteration == iteration) // from before a restart
          rounds += Round(iteration, named)
        }
        progress.send(s"Iteration $iteration, Testing net (#$net)")
        val values = named.flatMap { case (name, floats) => floats.map(name -> _) }
        for (((name, value), i) <- values.zipWithIndex) progress.send(s"    Test net output #$i: $name = ${Training.short(value)}")
      }
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
      Seq(localModel, localState).foreach(java.nio.file.Files.delete)
    }
  }

  private def writeModel(): Unit = {
    val target = new Path(job.model)
    val local = folder.resolve("final-" + target.getName)
    solver.snapshot(local.toString, null, null)
    storage.publish(local, target)
    val files = Seq(Manifest.describe(local, target.getName))
    storage.writeText(manifest(end, finished = true, files, rounds.toSeq).text, job.manifestOfModel)
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
    if (layer < 0) 0L else net.getLayer(layer).getDataParam.getBatchSize.toLong
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
