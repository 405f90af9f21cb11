package com.yahoo.ml.caffe

import java.nio.ByteBuffer
import java.nio.ByteOrder.LITTLE_ENDIAN
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path, Paths}
import java.util.concurrent.{Callable, Executors, TimeUnit}

import caffe.Caffe.{BlobShape, LayerParameter, NetParameter}
import com.yahoo.ml.caffe.engine.{Library, Net}
import org.apache.spark.sql.SparkSession
import org.scalatest.funsuite.AnyFunSuite

import scala.jdk.CollectionConverters._
import scala.util.Try

/** A scratch folder with the digits data and LeNet, and Spark sessions with a deadline around what they do. */
abstract class SparkTest extends AnyFunSuite {
  protected val repository: Path = Paths.get(sys.props("caffe.repository"))

  protected def digits: Path = repository.resolve("tests/golden/e2e_digits")

  /** A copy of the digits: two LMDBs and lenet_digits.prototxt with absolute paths. */
  protected def scratch(body: Path => Unit): Unit = {
    val folder = Files.createTempDirectory("caffeonspark-test-")
    try {
      for (name <- Seq("digits_train_lmdb", "digits_test_lmdb")) {
        Files.createDirectory(folder.resolve(name))
        Files.copy(digits.resolve(name).resolve("data.mdb"), folder.resolve(name).resolve("data.mdb"))
      }
      write(folder.resolve("net.prototxt"), text(digits.resolve("lenet_digits.prototxt"))
        .replace("\"digits_", "\"" + folder + "/digits_"))
      body(folder)
    } finally Storage.delete(folder)
  }

  /** Of files and folders there; none where it does not exist. */
  protected def names(folder: Path): Set[String] =
    if (!Files.isDirectory(folder)) Set.empty
    else {
      val all = Files.list(folder)
      try all.iterator.asScala.map(_.getFileName.toString).toSet
      finally all.close()
    }

  protected def text(file: Path): String = new String(Files.readAllBytes(file), UTF_8)

  protected def write(file: Path, content: String): Path = {
    Files.createDirectories(file.getParent)
    Files.write(file, content.getBytes(UTF_8))
  }

  /** A solver beside the network; `more` overrides nothing, so give each field once. */
  protected def solver(folder: Path, iterations: Int, more: String = "", net: String = "net.prototxt"): Path =
    write(folder.resolve(s"solver-${math.abs((more + net).hashCode)}-$iterations.prototxt"),
      s"""net: "$net"
         |base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "fixed"
         |max_iter: $iterations random_seed: 7 solver_mode: CPU
         |$more
         |""".stripMargin)

  protected def withSpark[A](master: String, settings: (String, String)*)(body: SparkSession => A): A =
    stopped(start(master, settings: _*))(body)

  private def stopped[A](session: SparkSession)(body: SparkSession => A): A =
    try body(session)
    finally within(60)(session.stop())

  private def start(master: String, settings: (String, String)*): SparkSession = {
    val builder = SparkSession.builder().master(master).appName("test").config("spark.ui.enabled", "false")
      .config("spark.driver.host", "127.0.0.1").config("spark.sql.shuffle.partitions", "2")
      .config("spark.sql.warehouse.dir", Files.createTempDirectory("warehouse").toString)
    settings.foreach { case (key, value) => builder.config(key, value) }
    within(120)(builder.getOrCreate())
  }

  /** Two executor processes of one core. */
  protected def withCluster[A](settings: (String, String)*)(body: SparkSession => A): A =
    stopped(startCluster("local-cluster[2,1,1024]", settings: _*))(body)

  protected def startCluster(master: String, settings: (String, String)*): SparkSession = {
    assume(sys.env.get("SPARK_HOME").exists(home => Files.isDirectory(Paths.get(home, "jars"))), "SPARK_HOME is not set")
    val nativeFolder = sys.props.getOrElse("caffe.native.dir", "")
    val common = Seq("spark.executor.memory" -> "512m", "spark.executor.extraClassPath" -> sys.props("caffe.test.classpath"),
      "spark.executor.extraJavaOptions" ->
        s"${sys.props("caffe.test.jvm")} -Dcaffe.native.dir=$nativeFolder -Djava.io.tmpdir=${sys.props("java.io.tmpdir")}")
    start(master, common ++ settings: _*)
  }

  /** Leaves a test out where the processor does not compute in bf16, which only the engine knows. */
  protected def assumeBf16(): Unit = {
    Library.load()
    val layer = LayerParameter.newBuilder().setName("in").setType("Input").addTop("x")
    layer.getInputParamBuilder.addShape(BlobShape.newBuilder().addDim(1))
    val net = NetParameter.newBuilder().addLayer(layer).build().toByteArray
    try Net.create(net, Net.TEST, Map("precision" -> "bf16").asJava).close()
    catch {
      case e: Exception if e.getMessage.contains("this processor does not compute in bf16") => cancel(e.getMessage)
    }
  }

  /** Spark's waits have no end of their own. */
  protected def within[A](seconds: Int)(body: => A): A = {
    val thread = Executors.newSingleThreadExecutor { (task: Runnable) =>
      val made = new Thread(task, "test-body")
      made.setDaemon(true)
      made
    }
    try thread.submit((() => Try(body)): Callable[Try[A]]).get(seconds, TimeUnit.SECONDS).get
    finally thread.shutdownNow()
  }

  /** Names of what tasks leave in the folder for temporary files. */
  protected def temporaryFiles(): Set[String] =
    names(Paths.get(sys.props("java.io.tmpdir"))).filter(_.startsWith("caffeonspark-task-"))
}

/** Damaged copies of an LMDB. */
object BrokenLmdb {
  private val Page = 4096
  private val (depth, branches, entries, root) = (94, 96, 120, 128) // of the main database, in a meta page

  /** A valid store without records. */
  def empty(folder: Path): Unit = change(folder) { file =>
    for (meta <- Seq(0, Page)) {
      file.putShort(meta + depth, 0)
      for (field <- branches until root by 8) file.putLong(meta + field, 0)
      file.putLong(meta + root, -1)
    }
    require(file.getLong(entries) == 0)
  }

  def truncated(folder: Path): Unit = {
    val file = folder.resolve("data.mdb")
    val bytes = Files.readAllBytes(file)
    Files.write(file, bytes.take(bytes.length / 2 / Page * Page))
  }

  /** The value of a record becomes bytes that no message starts with. */
  def noDatum(folder: Path, record: Int = 0): Unit = overwrite(folder, record, Seq.fill(64)(-1))

  /** A record of no bytes whose extents are 2^30 x 2^30 x 16: of their product 64 bits keep a 0. */
  def hugeExtents(folder: Path): Unit = {
    val power = Seq(0x80, 0x80, 0x80, 0x80, 0x04)
    val extents = (0x08 +: power) ++ (0x10 +: power) ++ Seq(0x18, 16, 0x22, 0)
    val rest = Seq(0x7a, 0x88, 0x06) // an unknown field of the 776 bytes that are left
    overwrite(folder, 0, extents ++ rest)
  }

  private def overwrite(folder: Path, record: Int, value: Seq[Int]): Unit = {
    val file = folder.resolve("data.mdb")
    val bytes = Files.readAllBytes(file)
    val key = f"$record%08d".getBytes(UTF_8)
    value.map(_.toByte).copyToArray(bytes, bytes.indexOfSlice(key, 2 * Page) + key.length)
    Files.write(file, bytes)
  }

  private def change(folder: Path)(edit: ByteBuffer => Unit): Unit = {
    val file = folder.resolve("data.mdb")
    val bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(LITTLE_ENDIAN)
    edit(bytes)
    Files.write(file, bytes.array)
  }
}
