package com.yahoo.ml.caffe

import java.nio.file.{Files, Path}
import java.util.concurrent.TimeUnit.NANOSECONDS

import com.yahoo.ml.caffe.engine.{CommunicationException, Communicator}
import org.apache.spark.SparkContext

/** Whatever is wrong with a job: one clear error on the driver, executors alive, nothing left behind. */
class BadInputSuite extends SparkTest {
  private def message(error: Throwable): String = Failures.oneLine(error)

  private def failure(sc: SparkContext, mode: String, folder: Path, solver: Path, more: String*): String = {
    val args = Seq("-conf", solver.toString, "-model", s"file:$folder/model") ++ more
    val caffe = new CaffeOnSpark(sc)
    message(intercept[Exception](within(120) {
      val conf = new Config(sc, args.toArray)
      mode match {
        case "train" => caffe.train(DataSource.getSource(conf, true))
        case "test" => caffe.test(DataSource.getSource(conf, false))
        case "features" => caffe.features(DataSource.getSource(conf, false))
      }
    }))
  }

  private def net(folder: Path)(change: String => String): Path = {
    val file = write(folder.resolve("changed.prototxt"), change(text(folder.resolve("net.prototxt"))))
    solver(folder, 3, net = file.getFileName.toString)
  }

  private def both(body: (SparkContext, Path) => Unit): Unit = withSpark("local[2]") { session =>
    scratch { folder =>
      val before = temporaryFiles()
      body(session.sparkContext, folder)
      assert(temporaryFiles() == before)
      assert(session.sparkContext.parallelize(1 to 4, 2).sum() == 10)
    }
  }

  test("networks that are wrong") {
    both { (sc, folder) =>
      val layer = failure(sc, "train", folder, net(folder)(_.replace("\"ReLU\"", "\"ReLUU\"")))
      assert(layer.contains("Unknown layer type: ReLUU (known types: "), layer)
      val field = failure(sc, "train", folder, net(folder)(_.replace("num_output: 20", "num_outputs: 20")))
      assert(field.contains("changed.prototxt:") && field.contains("num_outputs"), field)
      val shape = failure(sc, "train", folder, net(folder)(_.replace("kernel_size: 5", "kernel_size: 50")), "-clusterSize", "2")
      assert(shape.contains("conv1"), shape)
      val blob = failure(sc, "train", folder, net(folder)(_.replace("bottom: \"pool1\"", "bottom: \"pool9\"")))
      assert(blob.contains("pool9"), blob)
      val labels = failure(sc, "train", folder, net(folder)(_.replace("num_output: 10", "num_output: 5")), "-clusterSize", "2")
      assert(labels.contains("label"), labels)
      assert(!Files.exists(folder.resolve("model")))
    }
  }

  test("data that is missing or damaged") {
    both { (sc, folder) =>
      val lmdb = folder.resolve("digits_train_lmdb")
      val file = lmdb.resolve("data.mdb")
      val good = Files.readAllBytes(file)
      def damaged(how: Path => Unit): String = {
        how(lmdb)
        try failure(sc, "train", folder, solver(folder, 3), "-clusterSize", "2")
        finally Files.write(file, good)
      }
      val empty = damaged(BrokenLmdb.empty)
      assert(empty.contains("digits_train_lmdb") && empty.contains("empty"), empty)
      val truncated = damaged(BrokenLmdb.truncated)
      assert(truncated.contains("digits_train_lmdb"), truncated)
      val noDatum = damaged(BrokenLmdb.noDatum(_))
      assert(noDatum.contains("00000000") && noDatum.contains("Datum"), noDatum)
      Files.delete(file)
      Files.delete(lmdb)
      val missing = failure(sc, "train", folder, solver(folder, 3), "-clusterSize", "2")
      assert(missing.contains(s"$lmdb") && missing.contains("on host "), missing)
      val source = failure(sc, "train", folder, net(folder)(_.replaceAll("source: \".*\"", "")))
      assert(source.contains("layer mnist (Data) has no source"), source)
    }
  }

  test("a record that says it is larger than memory") {
    both { (sc, folder) =>
      val lmdb = folder.resolve("digits_train_lmdb")
      BrokenLmdb.hugeExtents(lmdb)
      val error = message(intercept[Exception](within(60)(new LmdbRDD(sc, lmdb.toString, 1).collect())))
      assert(error.contains("record 00000000 holds 0 bytes, but its shape is 1073741824 x 1073741824 x 16"), error)
    }
  }

  test("models that are missing, damaged or of another shape") {
    both { (sc, folder) =>
      val file = solver(folder, 3)
      assert(failure(sc, "test", folder, file).contains(s"the model file:$folder/model does not exist on host"))
      val conf = new Config(sc, Array("-conf", file.toString, "-model", s"file:$folder/model"))
      within(120)(new CaffeOnSpark(sc).train(DataSource.getSource(conf, true)))
      val other = net(folder)(_.replace("num_output: 500", "num_output: 400"))
      for (mode <- Seq("test", "features")) {
        val shape = failure(sc, mode, folder, other, "-features", "ip2")
        assert(shape.contains("ip1") && shape.contains("500") && shape.contains("400"), shape)
      }
      val tuned = failure(sc, "train", folder, other, "-weights", s"file:$folder/model")
      assert(tuned.contains("ip1"), tuned)
      val unknown = failure(sc, "features", folder, file, "-features", "ip9")
      assert(unknown.startsWith("cannot observe blob ip9: "), unknown)
      val bytes = Files.readAllBytes(folder.resolve("model"))
      Files.write(folder.resolve("model"), bytes.take(bytes.length / 2))
      val half = failure(sc, "test", folder, file)
      assert(half.contains(s"$folder/model"), half)
    }
  }

  test("settings that cannot work") {
    both { (sc, folder) =>
      val file = solver(folder, 3)
      assert(failure(sc, "train", folder, file, "-clusterSize", "3")
        .startsWith("3 workers were asked for, but the master local[2] runs only 2 task(s) at once"))
      assert(failure(sc, "train", folder, file, "-snapshot", "file:/x").startsWith("-snapshot needs -weights"))
      assert(failure(sc, "train", folder, file, "-clusterSize", "2", "-connection", "pigeons")
        .contains("there is no libcaffe_transport_pigeons.so in "))
      assert(failure(sc, "train", folder, file, "-weights", "file:/gone.caffemodel")
        .contains("the weights file:/gone.caffemodel does not exist on host"))
      val below = write(folder.resolve("plain"), "")
      assert(failure(sc, "train", folder, file, "-model", s"file:$below/model").contains("cannot be written"))
    }
  }

  test("a job that occupies the slots is not waited for beyond the deadline") {
    withSpark("local[2]", "spark.caffe.startTimeout" -> "3") { session =>
      scratch { folder =>
        val sc = session.sparkContext
        val release = Files.createFile(folder.resolve("occupied")).toString
        val other = sc.parallelize(1 to 2, 2).foreachPartitionAsync { _ =>
          while (Files.exists(java.nio.file.Paths.get(release))) Thread.sleep(20)
        }
        val started = System.nanoTime()
        val error = failure(sc, "train", folder, solver(folder, 3), "-clusterSize", "2")
        assert(error.startsWith("2 workers could not be started together within 3 s"), error)
        assert(NANOSECONDS.toSeconds(System.nanoTime() - started) < 30)
        Files.delete(folder.resolve("occupied"))
        within(60)(scala.concurrent.Await.ready(other, scala.concurrent.duration.Duration.Inf))
      }
    }
  }

  test("workers with different secrets refuse each other") {
    val both = Seq.fill(2)(Communicator.create(java.util.Map.of("interface", "127.0.0.1")))
    val addresses = both.map(_.localAddress).toArray
    def connect(rank: Int): Throwable = intercept[CommunicationException](both(rank).connect(rank, addresses,
      Array.fill[Byte](32)(rank.toByte), "epoch", 1, 5000))
    var first: Throwable = null
    val thread = new Thread(() => first = connect(0))
    thread.start()
    val second = connect(1)
    thread.join(20000)
    assert(first != null && Seq(first, second).exists(_.getMessage.toLowerCase.contains("secret")), s"$first $second")
    both.foreach(_.close())
    assert(intercept[IllegalStateException](both.head.localAddress).getMessage == "Communicator is closed")
    both.foreach(_.abort("closed already: nothing happens"))
  }

  test("the program ends with one line and a code") {
    scratch { folder =>
      val out = new java.io.ByteArrayOutputStream
      val stderr = System.err
      def run(args: String*): (Int, String) = {
        out.reset()
        System.setErr(new java.io.PrintStream(out, true))
        try (within(120)(CommandLine.run(args.toArray)), out.toString.linesIterator.toSeq.last)
        finally System.setErr(stderr)
      }
      assert(run("-conf", "x") == ((1, "CaffeOnSpark: error: nothing to do; give -train, -test or -features")))
      assert(run("-train") == ((1, "CaffeOnSpark: error: -conf is missing; name the solver's prototxt with -conf " +
        "solver.prototxt")))
      System.setProperty("spark.master", "local[2]")
      try {
        val (code, line) = run("-test", "-conf", solver(folder, 3).toString, "-model", s"file:$folder/none")
        assert(code == 1 && line.startsWith(s"CaffeOnSpark: error: the model file:$folder/none does not exist"), line)
      } finally System.clearProperty("spark.master")
    }
  }
}
