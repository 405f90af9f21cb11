package com.yahoo.ml.caffe

import java.nio.file.{Files, Path}
import java.util.concurrent.ConcurrentLinkedQueue

import org.apache.logging.log4j.core.appender.AbstractAppender
import org.apache.logging.log4j.core.config.Property
import org.apache.logging.log4j.core.{LogEvent, Logger}
import org.apache.logging.log4j.{Level, LogManager}
import org.apache.spark.SparkContext
import org.apache.spark.ml.classification.LogisticRegressionModel
import org.apache.spark.sql.SparkSession

import scala.jdk.CollectionConverters._

/** Two workers in one JVM. */
class PipelineSuite extends SparkTest {
  private def local(body: SparkSession => Unit): Unit = withSpark("local[2]")(session => within(300)(body(session)))

  private def config(sc: SparkContext, args: String*): Config = new Config(sc, args.toArray)

  private def train(sc: SparkContext, solver: Path, model: Path, more: String*): Array[Byte] = {
    val args = Seq("-train", "-conf", solver.toString, "-model", s"file:$model", "-clusterSize", "2") ++ more
    new CaffeOnSpark(sc).train(DataSource.getSource(config(sc, args: _*), true))
    Files.readAllBytes(model)
  }

  test("digits: two workers learn them; test and features answer every record once and agree") {
    local { session =>
      val sc = session.sparkContext
      scratch { folder =>
        val before = temporaryFiles()
        val file = solver(folder, 120, "test_iter: 4 test_interval: 40 display: 40").toString
        val model = s"file:$folder/out/deep/lenet.model"
        val conf = config(sc, "-conf", file, "-model", model, "-clusterSize", "2", "-features", "accuracy,loss,ip2",
          "-label", "label", "-lmdb_partitions", "7")
        val caffe = new CaffeOnSpark(sc)
        val train = DataSource.getSource(conf, true).asInstanceOf[DataSource[Any, Any]]
        val test = DataSource.getSource(conf, false).asInstanceOf[DataSource[Any, Any]]
        val rounds = caffe.trainWithValidation(train, test)
        assert(rounds.columns.toSeq == Seq("accuracy", "loss"))
        val accuracies = rounds.collect().map(_.getSeq[Float](0).head)
        assert(accuracies.length == 4 && accuracies.head < 0.5 && accuracies.last > 0.9, accuracies.toSeq)

        val frame = caffe.features(test)
        assert(frame.columns.toSeq == Seq("SampleID", "accuracy", "loss", "ip2", "label"))
        val rows = frame.collect()
        assert(rows.length == 360 && rows.map(_.getString(0)).distinct.length == 360)
        assert(rows.forall(r => r.getSeq[Float](3).length == 10 && r.getSeq[Float](4).length == 1))
        assert(rows.map(_.getString(0)).min.startsWith("00000000"))

        val means = caffe.test(test)
        assert(means.keys.toSeq == Seq("accuracy", "loss"))
        assert(means("accuracy").head > 0.9)
        for ((name, column) <- Seq("accuracy" -> 1, "loss" -> 2)) {
          val mean = rows.map(_.getSeq[Float](column).head.toDouble).sum / rows.length
          assert(math.abs(mean - means(name).head) < 1e-6)
        }
        // Independent of the network's own Accuracy layer: the largest output against the label.
        val right = rows.count { r =>
          val scores = r.getSeq[Float](3)
          scores.indexOf(scores.max) == r.getSeq[Float](4).head.toInt
        }
        assert(math.abs(right / 360.0 - means("accuracy").head) < 1e-6)
        frame.unpersist()
        assert(temporaryFiles() == before)
      }
    }
  }

  test("an LMDB behind source_class and a Data layer give the same weights") {
    local { session =>
      scratch { folder =>
        val plain = train(session.sparkContext, solver(folder, 20), folder.resolve("a.model"))
        val memory = text(folder.resolve("net.prototxt"))
          .replace("type: \"Data\"", "type: \"MemoryData\" source_class: \"com.yahoo.ml.caffe.LMDB\"")
          .replace("data_param", "memory_data_param").replaceAll("backend: LMDB", "channels: 1 height: 28 width: 28")
        write(folder.resolve("memory.prototxt"), memory.replace(s""""$folder""", s""""file:$folder"""))
        val other = train(session.sparkContext, solver(folder, 20, net = "memory.prototxt"), folder.resolve("b.model"))
        assert(plain.sameElements(other))
      }
    }
  }

  test("a resumed run ends in the same weights as an undisturbed one, bit by bit") {
    local { session =>
      scratch { folder =>
        val whole = train(session.sparkContext, solver(folder, 40, "snapshot: 25 snapshot_prefix: \"snap/lenet\""),
          folder.resolve("a/whole.model"))
        val snapshot = folder.resolve("a/snap/lenet_iter_25.caffemodel")
        assert(Files.exists(snapshot) && Files.exists(folder.resolve("a/snap/lenet_iter_25.manifest")))
        val resumed = train(session.sparkContext, solver(folder, 40), folder.resolve("b/resumed.model"), "-weights",
          s"file:$snapshot", "-snapshot", s"file:$folder/a/snap/lenet_iter_25.solverstate")
        assert(resumed.sameElements(whole))
        val fresh = train(session.sparkContext, solver(folder, 39), folder.resolve("c/shorter.model"))
        assert(!fresh.sameElements(whole))
      }
    }
  }

  test("in bf16, by the solver's field or by the flag, training, test and features give nearly the same") {
    assumeBf16()
    local { session =>
      val sc = session.sparkContext
      scratch { folder =>
        val file = solver(folder, 20)
        val field = solver(folder, 20, "precision: BF16")
        val rounded = train(sc, file, folder.resolve("a.model"), "-precision", "bf16")
        assert(train(sc, field, folder.resolve("b.model")).sameElements(rounded))
        assert(!train(sc, file, folder.resolve("c.model")).sameElements(rounded))
        assert(numbers(rounded).exists(value => (java.lang.Float.floatToRawIntBits(value) & 0xFFFF) != 0))

        def answers(solver: Path, more: String*): (Seq[Float], Double) = {
          val args = Seq("-conf", solver.toString, "-model", s"file:$folder/a.model", "-features", "ip2") ++ more
          val source = DataSource.getSource(config(sc, args: _*), false)
          val frame = new CaffeOnSpark(sc).features(source)
          val values = frame.orderBy("SampleID").collect().toSeq.flatMap(_.getSeq[Float](1))
          frame.unpersist()
          (values, new CaffeOnSpark(sc).test(source)("loss").head)
        }
        val (exact, loss) = answers(file)
        val byField = answers(field)
        assert(answers(file, "-precision", "bf16") == byField)
        assert(answers(field, "-precision", "f32") == ((exact, loss)))
        assert(byField._1 != exact && byField._2 != loss && math.abs(byField._2 - loss) < 2e-2)
        val scale = exact.map(math.abs(_)).max
        assert(byField._1.zip(exact).forall { case (a, b) => math.abs(a - b) < 2e-2 * scale })
      }
    }
  }

  /** The parameters in a model file. */
  private def numbers(model: Array[Byte]): Seq[Float] =
    _root_.caffe.Caffe.NetParameter.parseFrom(model).getLayerList.asScala.toSeq.flatMap(_.getBlobsList.asScala)
      .flatMap(_.getDataList.asScala.map(_.floatValue))

  test("fine-tuning starts from the weights given") {
    local { session =>
      scratch { folder =>
        val sc = session.sparkContext
        train(sc, solver(folder, 120), folder.resolve("base.model"))
        val tune = solver(folder, 1, "test_iter: 4 test_interval: 1")
        val conf = config(sc, "-conf", tune.toString, "-model", s"file:$folder/tuned.model", "-clusterSize", "2", "-weights",
          s"file:$folder/base.model")
        def source(training: Boolean) = DataSource.getSource(conf, training).asInstanceOf[DataSource[Any, Any]]
        val first = new CaffeOnSpark(sc).trainWithValidation(source(true), source(false)).head()
        assert(first.getSeq[Float](0).head > 0.9)
      }
    }
  }

  /** What a logger says meanwhile. */
  private def logged(name: String)(body: => Any): Seq[String] = {
    val lines = new ConcurrentLinkedQueue[String]
    val appender = new AbstractAppender("lines", null, null, false, Property.EMPTY_ARRAY) {
      override def append(event: LogEvent): Unit = lines.add(event.getMessage.getFormattedMessage)
    }
    appender.start()
    val logger = LogManager.getLogger(name).asInstanceOf[Logger]
    logger.addAppender(appender)
    logger.setLevel(Level.INFO)
    try body
    finally {
      logger.removeAppender(appender)
      logger.setLevel(Level.WARN)
    }
    lines.asScala.toSeq
  }

  test("lines of workers' logs name rank and host, and say what scripts for Caffe's logs look for") {
    local { session =>
      scratch { folder =>
        val lines = logged(classOf[Training].getName) {
          train(session.sparkContext, solver(folder, 20, "display: 10 snapshot: 20 snapshot_prefix: \"l\""), folder.resolve("m"))
        }
        val loss = raw"Iteration (\d+), loss = ([\.\d]+), lr = 0.01$$".r.unanchored
        for (rank <- 0 until 2) {
          val own = lines.filter(_.startsWith(s"worker $rank on host ${Storage.host}: "))
          assert(own.collect { case loss(iteration, _) => iteration } == Seq("10", "20"), lines)
        }
        assert(lines.exists(_.startsWith(s"worker 0 on host ${Storage.host}: Snapshotting to file:$folder/l_iter_20.caffemodel, ")), lines)
      }
    }
  }

  test("snapshots in HDF5 carry its ending") {
    local { session =>
      scratch { folder =>
        val file = solver(folder, 4, "snapshot: 2 snapshot_prefix: \"l\" snapshot_format: HDF5")
        val conf = config(session.sparkContext, "-conf", file.toString, "-model", s"file:$folder/m")
        new CaffeOnSpark(session.sparkContext).train(DataSource.getSource(conf, true))
        for (name <- Seq("m.h5", "l_iter_2.caffemodel.h5", "l_iter_4.solverstate.h5")) assert(Files.exists(folder.resolve(name)))
      }
    }
  }

  test("the records of an LMDB as an RDD") {
    local { session =>
      scratch { folder =>
        val rdd = new LmdbRDD(session.sparkContext, s"file:$folder/digits_test_lmdb", 5)
        val records = rdd.collect()
        assert(rdd.getNumPartitions == 5 && records.map(_._1).distinct.length == 360)
        assert(records.forall { case (_, label, c, h, w, encoded, bytes) =>
          label.toInt < 10 && !encoded && bytes.length == c * h * w
        })
        assert(new LmdbRDD(session.sparkContext, s"$folder/digits_test_lmdb", 500).count() == 360)
        val error = intercept[java.io.IOException](new LmdbRDD(session.sparkContext, s"$folder/gone", 2).count())
        assert(error.getMessage.contains(s"$folder/gone does not exist on host"))
      }
    }
  }

  test("10,000 images give 10,000 rows, each once") {
    local { session =>
      scratch { folder =>
        val sc = session.sparkContext
        LargeLmdb.write(folder.resolve("large_lmdb"), 10000)
        train(sc, solver(folder, 2), folder.resolve("m"))
        write(folder.resolve("large.prototxt"), text(folder.resolve("net.prototxt")).replace("digits_test_lmdb", "large_lmdb"))
        val conf = config(sc, "-conf", solver(folder, 2, net = "large.prototxt").toString, "-model", s"file:$folder/m",
          "-features", "label", "-lmdb_partitions", "3")
        val rows = new CaffeOnSpark(sc).features(DataSource.getSource(conf, false)).collect()
        assert(rows.length == 10000)
        assert(rows.map(_.getString(0)).sorted.toSeq == (0 until 10000).map(i => f"$i%08d"))
        assert(rows.forall(r => r.getSeq[Float](1).head == r.getString(0).toInt % 10))
      }
    }
  }

  test("a program with the calls of the original's MLlib example") {
    scratch { folder =>
      val settings = Seq("spark.master" -> "local[2]", "spark.app.name" -> "pipeline", "spark.ui.enabled" -> "false")
      settings.foreach { case (key, value) => System.setProperty(key, value) }
      try within(300) {
        pipeline.FeaturesAndRegression.main(Array("-train", "-conf", solver(folder, 100).toString, "-features", "ip1",
          "-label", "label", "-model", s"file:$folder/m", "-output", s"file:$folder/regression", "-clusterSize", "2"))
      } finally settings.foreach { case (key, _) => System.clearProperty(key) }
      local { _ => assert(LogisticRegressionModel.load(s"file:$folder/regression").numClasses == 10) }
    }
  }
}
