package com.yahoo.ml.caffe

import java.nio.file.Files
import java.util.concurrent.TimeUnit.NANOSECONDS

import org.apache.spark.{SparkContext, SparkEnv}

/** Two executor processes. */
class ClusterSuite extends SparkTest {
  private def executors(sc: SparkContext): Set[(String, Long)] =
    sc.parallelize(1 to 64, 64).map(_ => (SparkEnv.get.executorId, ProcessHandle.current.pid)).collect().toSet

  test("two processes train, validate, test and extract; afterwards they are the same processes") {
    withCluster("spark.task.cpus" -> "1") { session =>
      within(400) {
        val sc = session.sparkContext
        scratch { folder =>
          val file = solver(folder, 200, "test_iter: 4 test_interval: 100 display: 50 snapshot: 100 snapshot_prefix: \"l\"")
          val conf = new Config(sc, Array("-conf", file.toString, "-model", s"file:$folder/out/m", "-clusterSize", "2",
            "-features", "ip1", "-label", "label"))
          val caffe = new CaffeOnSpark(sc)
          def source(training: Boolean) = DataSource.getSource(conf, training).asInstanceOf[DataSource[Any, Any]]
          val rounds = caffe.trainWithValidation(source(true), source(false)).collect()
          assert(rounds.length == 3 && rounds.last.getSeq[Float](0).head > 0.9)
          for (name <- Seq("m", "m.manifest", "l_iter_100.caffemodel", "l_iter_200.solverstate", "l_iter_200.manifest")) {
            assert(Files.exists(folder.resolve("out").resolve(name)), name)
          }
          assert(Files.list(folder.resolve("out")).noneMatch(_.getFileName.toString.startsWith(".")))
          val before = executors(sc)
          assert(before.map(_._2).size == 2)
          assert(caffe.test(source(false))("accuracy").head > 0.9)
          assert(caffe.features(source(false)).select("SampleID").distinct().count() == 360)

          Files.delete(folder.resolve("digits_train_lmdb/data.mdb"))
          val error = intercept[Exception](caffe.train(source(true)))
          assert(error.getMessage.contains("digits_train_lmdb"), error)
          assert(executors(sc) == before)
          assert(temporaryFiles().isEmpty)
        }
      }
    }
  }

  test("too few executors: one sentence within 30 seconds") {
    withCluster() { session =>
      scratch { folder =>
        val sc = session.sparkContext
        val conf = new Config(sc, Array("-conf", solver(folder, 3).toString, "-model", s"file:$folder/m", "-clusterSize", "3"))
        val started = System.nanoTime()
        val error = intercept[IllegalStateException](within(60)(
          new CaffeOnSpark(sc).train(DataSource.getSource(conf, true))))
        assert(NANOSECONDS.toSeconds(System.nanoTime() - started) < 30)
        assert(error.getMessage.startsWith("3 workers were asked for, one executor each, but after 25 s Spark has only 2"))
      }
    }
  }
}
