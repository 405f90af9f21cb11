package com.yahoo.ml.caffe

import java.io.{ByteArrayOutputStream, PrintStream}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.StandardOpenOption.{APPEND, CREATE}
import java.nio.file.{Files, Path, Paths}
import java.util.{Locale, Properties}
import java.util.concurrent.TimeUnit.NANOSECONDS

import caffe.Caffe.{BlobProto, NetParameter}
import org.apache.spark.SparkContext
import org.apache.spark.api.plugin.{DriverPlugin, ExecutorPlugin, PluginContext, SparkPlugin}
import org.apache.spark.scheduler._

import scala.collection.concurrent.TrieMap
import scala.jdk.CollectionConverters._

/** In every executor: ends its JVM, as a user's code might, as soon as a file asks for it. */
class ExitPlugin extends SparkPlugin {
  override def driverPlugin(): DriverPlugin = null

  override def executorPlugin(): ExecutorPlugin = new ExecutorPlugin {
    override def init(context: PluginContext, extra: java.util.Map[String, String]): Unit = {
      val order = ExitPlugin.order(ProcessHandle.current.pid)
      val thread = new Thread(() => {
        while (!Files.deleteIfExists(order)) Thread.sleep(20)
        System.exit(17)
      })
      thread.setDaemon(true)
      thread.start()
    }
  }
}

object ExitPlugin {
  /** Not in java.io.tmpdir, which YARN sets for each executor. */
  def order(pid: Long): Path = Paths.get(s"/tmp/caffe-test-exit-$pid")
}

/**
 * The cluster that failures are tried on: CAFFE_TEST_MASTER names another one of two executors on this machine than the
 * usual, and CAFFE_TEST_SETTINGS a file with the properties that it needs. tests/cluster/test_failures.py gives both.
 */
object TestCluster {
  def master(usual: String): String = sys.env.getOrElse("CAFFE_TEST_MASTER", usual)

  def settings: Seq[(String, String)] = sys.env.get("CAFFE_TEST_SETTINGS").toSeq.flatMap { file =>
    val properties = new Properties
    val in = Files.newInputStream(Paths.get(file))
    try properties.load(in)
    finally in.close()
    properties.asScala
  }

  /** Where an executor's standard error goes: by itself to a file, or by way of a daemon to one in its folder. */
  def log(pid: Long): Path = {
    val direct = Files.readSymbolicLink(Paths.get(s"/proc/$pid/fd/2"))
    if (Files.isRegularFile(direct)) direct else Paths.get(s"/proc/$pid/cwd/stderr")
  }
}

/** When the first task or executor of an application failed, and which tasks run. */
class FaultListener extends SparkListener {
  val running = new TrieMap[Long, Int]
  @volatile var firstFailure = 0L

  override def onTaskStart(event: SparkListenerTaskStart): Unit = running.put(event.taskInfo.taskId, event.taskInfo.index)

  override def onTaskEnd(event: SparkListenerTaskEnd): Unit = {
    running.remove(event.taskInfo.taskId)
    if (!event.taskInfo.successful) failed()
  }

  override def onExecutorRemoved(event: SparkListenerExecutorRemoved): Unit = failed()

  private def failed(): Unit = if (firstFailure == 0) firstFailure = System.nanoTime()
}

/** A small network with everything that a restart must restore: Adam's history, dropout, a stream of records. */
abstract class FaultTest extends SparkTest {
  /** CAFFE_FAILURES=all: the slow cases too. Much else goes on then, so everything may take longer. */
  protected val all: Boolean = sys.env.get("CAFFE_FAILURES").contains("all")
  protected val slack: Int = if (all) 3 else 1

  override protected def within[A](seconds: Int)(body: => A): A = super.within(slack * seconds)(body)

  protected val Iterations = 6000

  protected def smallNet(folder: Path, hidden: Int): Path = write(folder.resolve("small.prototxt"),
    s"""name: "small"
       |layer { name: "mnist" type: "Data" top: "data" top: "label" transform_param { scale: 0.00390625 }
       |  data_param { source: "$folder/digits_train_lmdb" batch_size: 8 backend: LMDB } }
       |layer { name: "ip1" type: "InnerProduct" bottom: "data" top: "ip1"
       |  inner_product_param { num_output: $hidden weight_filler { type: "xavier" } } }
       |layer { name: "relu" type: "ReLU" bottom: "ip1" top: "ip1" }
       |layer { name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" dropout_param { dropout_ratio: 0.3 } }
       |layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
       |  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
       |layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
       |layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy" include { phase: TEST } }
       |""".stripMargin)

  protected def smallSolver(folder: Path, iterations: Int = Iterations, more: String = "", hidden: Int = 32): Path = {
    smallNet(folder, hidden)
    write(folder.resolve(s"small-${math.abs(more.hashCode)}-$iterations.prototxt"),
      s"""net: "small.prototxt" type: "Adam" momentum: 0.9 momentum2: 0.999 lr_policy: "fixed"
         |max_iter: $iterations random_seed: 7 snapshot_prefix: "l" $more
         |${if (more.contains("base_lr")) "" else "base_lr: 0.0005"}
         |""".stripMargin)
  }

  /** Of a model's layers; the model itself names the folder of its data. */
  protected def weights(model: Path): Seq[java.util.List[BlobProto]] =
    NetParameter.parseFrom(Files.readAllBytes(model)).getLayerList.asScala.toSeq.map(_.getBlobsList)

  /** The weights at `out`, and what was printed. */
  protected def train(sc: SparkContext, solver: Path, out: Path, more: String*): (Seq[java.util.List[BlobProto]], String) = {
    val usual = Seq("-model" -> s"file:$out", "-clusterSize" -> "2").filterNot(flag => more.contains(flag._1))
    val args = Seq("-conf", solver.toString) ++ usual.flatMap(flag => Seq(flag._1, flag._2)) ++ more
    val printed = new ByteArrayOutputStream
    Console.withOut(new PrintStream(printed, true)) {
      val conf = new Config(sc, args.toArray)
      val Seq(training, validation) = Seq(true, false).map(DataSource.getSource(conf, _).asInstanceOf[DataSource[Any, Any]])
      if (conf.solverParameter.getTestInterval == 0) new CaffeOnSpark(sc).train(training)
      else new CaffeOnSpark(sc).trainWithValidation(training, validation).unpersist()
    }
    (weights(out), printed.toString)
  }

  /** As soon as the training into `out` has a checkpoint, and a little later than that where `after` says so. */
  protected def onCheckpoint(out: Path, after: Long = 0)(disturb: => Unit): Thread = {
    def reached: Boolean = {
      val manifests = names(out.getParent).filter(_.startsWith(s".${out.getFileName}.checkpoints-"))
        .flatMap(folder => names(out.resolveSibling(folder))).filter(_.endsWith(".manifest"))
      manifests.exists(_.stripSuffix(".manifest").split('_').last.toLong >= after)
    }
    when(reached)(disturb)
  }

  protected def when(reached: => Boolean)(disturb: => Unit): Thread = {
    val thread = new Thread(() => {
      try {
        while (!reached) Thread.sleep(5)
        disturb
      } catch { case _: InterruptedException => () }
    }, "disturb")
    thread.setDaemon(true)
    thread.start()
    thread
  }

  protected def signal(name: String, pid: Long): Unit =
    assert(new ProcessBuilder("kill", s"-$name", pid.toString).inheritIO().start().waitFor() == 0)

  /** In the test's report and, for the test of all failures, in its table. */
  protected def record(master: String, name: String, noticed: Option[Double], ended: Double, line: String): Unit = {
    def seconds(time: Double): String = String.format(Locale.ROOT, "%.1f s", Double.box(time))
    val row = Seq(master, name, noticed.fold("")(seconds), seconds(ended), line).mkString("", "\t", "\n")
    info(row.trim)
    sys.env.get("CAFFE_FAILURE_TIMES").foreach(file => Files.write(Paths.get(file), row.getBytes(UTF_8), CREATE, APPEND))
  }

  protected def since(start: Long): Double = NANOSECONDS.toMillis(System.nanoTime() - start) / 1000.0
}
