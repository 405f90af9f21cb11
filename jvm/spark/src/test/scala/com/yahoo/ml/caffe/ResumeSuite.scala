package com.yahoo.ml.caffe

import java.lang.management.ManagementFactory
import java.nio.file.{Files, Path}
import java.util.concurrent.TimeUnit.SECONDS

import scala.jdk.CollectionConverters._

/** spark-submit, killed and given again: programs of their own, with drivers that may die. */
class ResumeSuite extends FaultTest {
  private val master = TestCluster.master("local[2]")

  /** CaffeOnSpark's main in a JVM like this one; its output goes to `log`. */
  private def submit(log: Path, args: String*): Process = {
    val settings = Map("spark.master" -> master, "spark.ui.enabled" -> "false", "spark.driver.host" -> "127.0.0.1",
      "spark.caffe.checkpointInterval" -> "150ms", "spark.executor.extraClassPath" -> sys.props("caffe.test.classpath"),
      "spark.executor.memory" -> "512m", "spark.cores.max" -> "2", "spark.executor.cores" -> "1") ++ TestCluster.settings
    val own = ManagementFactory.getRuntimeMXBean.getInputArguments.asScala.filterNot(_.startsWith("-Dspark."))
    val command = Seq(ProcessHandle.current.info.command.get) ++ own ++ settings.map { case (k, v) => s"-D$k=$v" } ++
      Seq("-cp", sys.props("java.class.path"), "com.yahoo.ml.caffe.CaffeOnSpark") ++ args
    new ProcessBuilder(command: _*).redirectErrorStream(true).redirectOutput(log.toFile).start()
  }

  private def finish(process: Process, log: Path): String = {
    assert(process.waitFor(slack * 180L, SECONDS), "not finished")
    assert(process.exitValue == 0, text(log))
    text(log)
  }

  test("a driver that is killed: given again with -resume, training goes on from its checkpoint to the same weights") {
    scratch { folder =>
      val solver = smallSolver(folder, 3000)
      def arguments(out: String) = Seq("-train", "-conf", solver.toString, "-model", s"file:$folder/$out/m", "-clusterSize", "2")
      val (out, log) = (folder.resolve("b/m"), folder.resolve("log"))
      val first = submit(log, arguments("b"): _*)
      onCheckpoint(out, 500)(first.destroyForcibly()).join(slack * 120000L)
      assert(first.waitFor(slack * 60L, SECONDS) && !Files.exists(out), text(log))
      val left = names(folder.resolve("b"))
      assert(left.exists(_.startsWith(".m.checkpoints-")), left)
      val again = System.nanoTime()
      val resumed = finish(submit(log, arguments("b") :+ "-resume": _*), log)
      val took = since(again)
      val from = "Training goes on from iteration (\\d+), where".r.findFirstMatchIn(resumed).map(_.group(1).toInt)
      assert(from.exists(_ >= 500), resumed)
      record(master, "driver kill -9, then -resume", None, took, s"from iteration ${from.get}")
      finish(submit(log, arguments("a"): _*), log)
      assert(weights(out) == weights(folder.resolve("a/m")))
      assert(names(folder.resolve("b")) == Set("m", "m.manifest"))
      assert(finish(submit(log, arguments("b") :+ "-resume": _*), log).contains("The run with these arguments has finished"))
    }
  }

  test("a run that may stop early keeps its best weights over an interruption") {
    withSpark("local[2]", "spark.caffe.checkpointInterval" -> "0", EarlyStopping.Rounds -> "4") { session =>
      scratch { folder =>
        val sc = session.sparkContext
        // Such a rate makes everything worse, so the best weights are those of the beginning.
        val solver = smallSolver(folder, 20000, "base_lr: 10 test_interval: 2000 test_iter: 2 snapshot: 1500")
        val (best, printed) = within(120)(train(sc, solver, folder.resolve("a/m")))
        assert(printed.contains("Iteration 8000, stopping early"), printed)
        assert(weights(folder.resolve("a/l_iter_1500.caffemodel")) != best)
        val out = folder.resolve("b/m")
        val disturber = when(Files.exists(folder.resolve("b/l_iter_3000.manifest")))(sc.cancelAllJobs())
        try intercept[Exception](within(120)(train(sc, solver, out)))
        finally disturber.interrupt()
        assert(Files.exists(folder.resolve("b/l_iter_3000.best.caffemodel")) && !Files.exists(out))
        val (resumed, told) = within(120)(train(sc, solver, out, "-resume"))
        assert(told.contains("where an earlier run was interrupted") && told.contains("Iteration 8000, stopping early"), told)
        assert(resumed == best)
      }
    }
  }

  test("-resume without anything to resume trains from the beginning; other arguments are another run") {
    withSpark("local[2]", "spark.caffe.checkpointInterval" -> "100ms") { session =>
      scratch { folder =>
        val out = folder.resolve("out/m")
        val (_, first) = within(120)(train(session.sparkContext, smallSolver(folder, 100), out, "-resume"))
        assert(first.contains("-resume: there is nothing to go on from"))
        val (_, again) = within(120)(train(session.sparkContext, smallSolver(folder, 100), out, "-resume"))
        assert(again.contains("has finished"))
        val (_, other) = within(120)(train(session.sparkContext, smallSolver(folder, 110), out, "-resume"))
        assert(other.contains("there is nothing to go on from"))
      }
    }
  }

  test("a run in another precision is another run") {
    assumeBf16()
    withSpark("local[2]") { session =>
      scratch { folder =>
        def resumed(more: String*): String =
          within(120)(train(session.sparkContext, smallSolver(folder, 20), folder.resolve("out/m"), "-resume" +: more: _*))._2
        assert(resumed("-precision", "bf16").contains("there is nothing to go on from"))
        assert(resumed("-precision", "bf16").contains("has finished"))
        assert(resumed().contains("there is nothing to go on from"))
      }
    }
  }
}
