package com.yahoo.ml.caffe

import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path => LocalPath}
import java.util.Base64
import java.util.concurrent.TimeUnit.MILLISECONDS
import java.util.concurrent.{ExecutionException, FutureTask, TimeoutException}

import caffe.Caffe.SolverParameter
import com.yahoo.ml.caffe.engine.{Communicator, Library, NativeLog, Solver}
import org.apache.hadoop.fs.Path
import org.apache.spark.{BarrierTaskContext, InterruptibleIterator}

import scala.jdk.CollectionConverters._
import scala.util.Try

/**
 * One worker of a training run: a task of the barrier stage. All workers pass the same gatherings: where an interrupted run
 * goes on, whether everyone is ready, and how it ended; so one worker's mistake is every worker's result, with its cause.
 * Spark's gathering takes up to a second, however near the workers are.
 */
private[caffe] final class Worker(job: TrainJob, context: BarrierTaskContext, folder: LocalPath,
    rows: Iterator[(Int, Array[Byte])]) {
  import Worker._

  private val rank = context.partitionId()
  private val where = s"worker $rank on host ${Storage.host}"
  private val storage = job.hadoop.storageOf(job.id)
  private val solverParameter = SolverParameter.parseFrom(job.solver)
  private val resumes = job.resumes || job.restart > 0 || context.stageAttemptNumber() > 0
  private val bestModel = folder.resolve("best-" + new Path(job.model).getName)
  private val progress = new ProgressChannel.Client(if (rank == 0) job.progress else None, job.secret)

  def run(): Either[Failure, WorkerReport] = try {
    NativeLog.add(where)
    requireAll(context, job.world)
    if (resumes) goOn() else train(Fresh)
  } finally {
    progress.close()
    NativeLog.remove(where)
  }

  private def goOn(): Either[Failure, WorkerReport] = {
    val restart =
      if (rank == 0) attempt(storage.patiently(new Path(job.model))(restartPoint()))
      else Right(Fresh)
    val points = gather(restart.fold(encode, point => Seq("ok", point)))
    failureOf(points) match {
      case Some(failure) => Left(failure)
      case None if points.head.last == Done =>
        Right(WorkerReport(rank, where, 0, 0, 0, 0, 0, finishedRounds, Nil, ProcessMemory.now()))
      case None => train(points.head.last)
    }
  }

  private def train(from: String): Either[Failure, WorkerReport] = {
    val resources = new Resources(storage)
    try {
      val ready = attempt(prepare(resources, from))
      val all = gather(ready.fold(encode, ok => Seq("ok", ok._1, ok._2.toString)))
      failureOf(all) match {
        case Some(failure) => Left(failure)
        case None => together(resources, all.map(_(1)).toArray, all(rank)(2).toLong)
      }
    } finally resources.close()
  }

  private def together(resources: Resources, addresses: Array[String], hash: Long): Either[Failure, WorkerReport] = {
    val result = attempt {
      resources.communicator.connect(rank, addresses, job.secret,
        s"${job.id}/${job.restart}.${context.stageAttemptNumber()}", hash, job.timeoutMillis)
      resources.connected = true
      resources.solver.join(resources.communicator)
      new Training(job, rank, where, resources.solver, solverParameter, storage, folder, progress,
        resources.from.map(_.manifest), bestModel).run()
    }
    result.left.foreach(failure => resources.communicator.abort(s"${failure.message} (${failure.where})"))
    val all = result match {
      case Left(failure) if failure.kind == Failures.Communication =>
        TrainingMetrics.aborts.incrementAndGet()
        gatherUnlessLost(encode(failure), failure)
      case other => gather(other.fold(encode, _ => Seq("ok")))
    }
    failureOf(all) match {
      case None => result
      // Everyone is alive, yet a connection broke in the middle: Spark may try the stage once more.
      case Some(failure) if failure.kind == Failures.Communication && resources.connected =>
        throw failure.exception
      case Some(failure) => Left(failure)
    }
  }

  /** Everything that needs no other worker: (address, hash of the configuration). */
  private def prepare(resources: Resources, from: String): (String, Long) = {
    Gpus.refuse(context)
    Library.load()
    resources.communicator = Communicator.create(GroupSettings.onWorker(job.group).asJava)
    val files = RowSpool.write(new InterruptibleIterator(context, rows), job.rows, folder, job.world)
    val message = HostFiles.withRows(HostFiles.prepare(solverParameter, resources.copies), files)
    resources.from = if (from == Fresh) None else Some(pointAt(new Path(from)))
    val start = resources.from.fold(
      starting(job.weights.map(new Path(_)), Option(job.state).filter(_.nonEmpty).map(new Path(_))))(startingAt)
    val executors = context.getTaskInfos().map(_.address)
    val threads = math.max(1, job.executorCores / executors.count(_ == executors(rank)))
    val options = Map("rank" -> rank.toString, "world" -> job.world.toString, "threads" -> threads.toString) ++
      job.engineOptions ++ start
    resources.solver = Solver.create(message.toByteArray, options.asJava)
    if (rank == 0 && !job.returnsModel) storage.requireWritable(new Path(job.model))
    resources.watch(context)
    (resources.communicator.localAddress, resources.solver.configHash)
  }

  private def starting(weights: Seq[Path], state: Option[Path]): Map[String, String] = {
    val local = weights.map(storage.fetch(_, folder, "the weights").toString)
    val options = if (local.isEmpty) Map.empty[String, String] else Map("weights" -> local.mkString(","))
    options ++ state.toSeq.flatMap { path =>
      Seq("state" -> storage.fetch(path, folder, "the solver state").toString, "continue_data" -> "1")
    }
  }

  /** The number of workers may have changed since; then the next record is not where the iteration says. */
  private def startingAt(point: RestartPoint): Map[String, String] = {
    point.best.filter(_ => rank == 0).foreach { path =>
      Files.copy(storage.fetch(path, folder, "the best weights so far"), bestModel)
    }
    val perIteration = Training.recordsPerIteration(solverParameter) * job.world
    val iterations = point.manifest.iteration
    val batches =
      if (perIteration == 0) iterations * solverParameter.getIterSize
      else point.manifest.position * solverParameter.getIterSize / perIteration
    starting(Seq(point.model), point.state) + ("first_batch" -> batches.toString)
  }

  private def restartPoint(): String =
    if (job.returnsModel) { // nothing was written
      progress.send(s"${RunLog.Restart}-1")
      Fresh
    } else if (Manifest.read(storage, job.manifestOfModel).exists(m => m.job == job.id && m.finished)) Done
    else {
      val point = job.checkpoints(storage).newest(new Path(job.snapshotBase))
      val known = Try(progress.known.toLong).toOption.filter(_ >= 0)
      if (point.isEmpty) known.foreach { iteration =>
        throw new CaffeException(s"the checkpoint of iteration $iteration beside ${job.model} cannot be seen from $where; " +
          "give -model a folder that all hosts share")
      }
      progress.send(RunLog.Restart + point.fold(-1L)(_.manifest.iteration))
      point.fold(Fresh)(_.path.toString)
    }

  private def finishedRounds: Seq[Round] = Manifest.read(storage, job.manifestOfModel).map(_.rounds).getOrElse(Nil)

  private def pointAt(path: Path): RestartPoint = Manifest.read(storage, path).map(RestartPoint(_, path)).getOrElse(
    throw new CaffeException(s"the checkpoint $path cannot be seen from $where; give -model a folder that all hosts share"))

  private def attempt[A](body: => A): Either[Failure, A] =
    try Right(body)
    catch { case e: Throwable if Failures.reportable(e) => Left(Failures.of(e, where)) }

  /** What a task met because Spark stops it is not the others' result: they would end with it, and not be started again. */
  private def gather(fields: Seq[String]): Seq[Seq[String]] = {
    if (context.isInterrupted()) throw new CaffeException(Stopped)
    val encoded = fields.map(f => Base64.getEncoder.encodeToString(f.getBytes(UTF_8))).mkString(",")
    context.allGather(encoded).toSeq.map(_.split(",", -1).toSeq.map(f => new String(Base64.getDecoder.decode(f), UTF_8)))
  }

  /** Where a connection broke, another worker may be stopped, or its host gone, and not come: Spark's wait has no end. */
  private def gatherUnlessLost(fields: Seq[String], failure: Failure): Seq[Seq[String]] = {
    val gathering = new FutureTask[Seq[Seq[String]]](() => gather(fields))
    val thread = new Thread(gathering, "caffe-gathering")
    thread.setDaemon(true)
    thread.start()
    try gathering.get(job.timeoutMillis, MILLISECONDS)
    catch {
      case _: TimeoutException => throw failure.exception
      case e: ExecutionException => throw e.getCause
    } finally thread.interrupt()
  }
}

private[caffe] object Worker {
  private val Fresh = ""
  private val Done = "done"
  private val WatchMillis = 100L
  private val Stopped = "Spark stopped the task"

  /** `rows` are those of this worker, each with the tag of its layer. */
  def run(job: TrainJob, rows: Iterator[(Int, Array[Byte])]): Iterator[Array[Byte]] = {
    val result = Storage.withTemporaryFolder(folder => new Worker(job, BarrierTaskContext.get(), folder, rows).run())
    Iterator(Results.encode(result))
  }

  /**
   * A worker that ends just as another one fails counts as finished for Spark (SPARK-59094, mended behind 4.1), which then
   * starts the others alone, and a gathering would wait for it for ever. A barrier stage that fails is started whole again.
   */
  def requireAll(context: BarrierTaskContext, world: Int): Unit = {
    val started = context.getTaskInfos().length
    if (started < world) throw new CaffeException(s"Spark started only $started of $world workers again; all are needed")
  }

  private def encode(failure: Failure): Seq[String] = Seq("failed", failure.kind, failure.message, failure.where)

  /** The failure that explains the others: a lost connection is mostly the echo of a failure elsewhere. */
  private def failureOf(statuses: Seq[Seq[String]]): Option[Failure] = {
    val failures = statuses.collect { case Seq("failed", kind, message, where) => Failure(kind, message, where) }
    failures.find(_.kind != Failures.Communication).orElse(failures.headOption)
  }

  /** What a worker holds, in the order in which it must be let go. */
  private final class Resources(storage: Storage) extends AutoCloseable {
    val copies = new HostCopies(storage)
    var communicator: Communicator = _
    var solver: Solver = _
    var from: Option[RestartPoint] = None
    var connected = false
    @volatile private var watching = true

    /** Native calls do not see a thread's interruption, so a killed task is noticed here. */
    def watch(context: BarrierTaskContext): Unit = {
      val thread = new Thread(() => {
        while (watching && !context.isInterrupted()) Thread.sleep(WatchMillis)
        synchronized { // what is closed is used no more
          if (watching) {
            solver.cancel()
            communicator.abort(Stopped)
          }
        }
      }, "caffe-watcher")
      thread.setDaemon(true)
      thread.start()
    }

    override def close(): Unit = {
      synchronized { watching = false }
      if (solver != null) solver.close()
      if (communicator != null) communicator.close()
      copies.close()
    }
  }
}
