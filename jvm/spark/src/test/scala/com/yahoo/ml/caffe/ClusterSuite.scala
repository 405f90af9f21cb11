package com.yahoo.ml.caffe

import java.nio.file.Files
import java.util.concurrent.TimeUnit.NANOSECONDS

import org.apache.spark.{SparkContext, SparkEnv}
import org.apache.spark.sql.SparkSession
import org.scalatest.BeforeAndAfterAll

/** In an object of its own: executors have our tests on their class path, but not ScalaTest. */
object Processes {
  /** (executor, process) of all that run tasks. */
  def of(sc: SparkContext): Set[(String, Long)] =
    sc.parallelize(1 to 64, 64).map(_ => (SparkEnv.get.executorId, ProcessHandle.current.pid)).collect().toSet
}

/** Two executor processes, the same for all tests. What becomes of those that fail: FailureSuite, and tests/cluster. */
class ClusterSuite extends SparkTest with BeforeAndAfterAll {
  private var session: SparkSession = _
  private def sc: SparkContext = session.sparkContext

  override def withFixture(test: NoArgTest): org.scalatest.Outcome = {
    if (session == null) session = startCluster("local-cluster[2,1,1024]", "spark.task.cpus" -> "1")
    super.withFixture(test)
  }

  override def afterAll(): Unit = if (session != null) within(60)(session.stop())

  test("two processes train, validate, test and extract; afterwards they are the same processes") {
    within(400) {
      scratch { folder =>
        val file = solver(folder, 120, "test_iter: 4 test_interval: 60 display: 30 snapshot: 60 snapshot_prefix: \"l\"")
        val conf = new Config(sc, Array("-conf", file.toString, "-model", s"file:$folder/out/m", "-clusterSize", "2",
          "-features", "ip1", "-label", "label"))
        val caffe = new CaffeOnSpark(sc)
        def source(training: Boolean) = DataSource.getSource(conf, training).asInstanceOf[DataSource[Any, Any]]
        val rounds = caffe.trainWithValidation(source(true), source(false)).collect()
        assert(rounds.length == 3 && rounds.last.getSeq[Float](0).head > 0.9)
        for (name <- Seq("m", "m.manifest", "l_iter_60.caffemodel", "l_iter_120.solverstate", "l_iter_120.manifest")) {
          assert(Files.exists(folder.resolve("out").resolve(name)), name)
        }
        assert(Files.list(folder.resolve("out")).noneMatch(_.getFileName.toString.startsWith(".")))
        val before = Processes.of(sc)
        assert(before.map(_._2).size == 2)
        assert(caffe.test(source(false))("accuracy").head > 0.9)
        assert(caffe.features(source(false)).select("SampleID").distinct().count() == 360)

        Files.delete(folder.resolve("digits_train_lmdb/data.mdb"))
        val error = intercept[Exception](caffe.train(source(true)))
        assert(error.getMessage.contains("digits_train_lmdb"), error)
        assert(Processes.of(sc) == before)
        assert(temporaryFiles().isEmpty)
      }
    }
  }

  test("too few executors: one sentence at once") {
    scratch { folder =>
      val conf = new Config(sc, Array("-conf", solver(folder, 3).toString, "-model", s"file:$folder/m", "-clusterSize", "3"))
      val started = System.nanoTime()
      val error = intercept[IllegalStateException](within(60)(
        new CaffeOnSpark(sc).train(DataSource.getSource(conf, true))))
      assert(NANOSECONDS.toSeconds(System.nanoTime() - started) < 30)
      assert(error.getMessage.startsWith("3 workers were asked for, one executor each, but this application gets only 2"))
    }
  }
}
