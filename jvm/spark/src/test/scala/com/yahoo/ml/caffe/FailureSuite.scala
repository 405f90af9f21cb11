package com.yahoo.ml.caffe

import java.nio.file.{Files, Path, Paths}

import org.apache.spark.{BarrierTaskContext, SparkContext}
import org.apache.spark.sql.SparkSession
import org.scalatest.BeforeAndAfterAll

/** What executors run must not be the suite's: they have no ScalaTest. */
private object OneOfTwo {
  def run(sc: SparkContext): Long = sc.parallelize(Seq(1), 1).barrier().mapPartitions { rows =>
    Worker.requireAll(BarrierTaskContext.get(), world = 2)
    rows
  }.count()
}

/**
 * What can fail while two executors train, and how it ends. With CAFFE_FAILURE_TIMES times are appended to that file;
 * TestCluster says where.
 */
class FailureSuite extends FaultTest with BeforeAndAfterAll {
  private val master = TestCluster.master("local-cluster[2,1,1024]")
  private val patience = if (all) 60 else 25 // seconds
  private val settings = Seq("spark.caffe.checkpointInterval" -> "150ms", "spark.caffe.silence" -> "3s",
    "spark.caffe.timeout" -> "10s", "spark.caffe.recoveryTimeout" -> s"${patience}s", "spark.network.timeout" -> "12s",
    "spark.network.timeoutInterval" -> "2s", "spark.executor.heartbeatInterval" -> "2s",
    "spark.stage.maxConsecutiveAttempts" -> "2", "spark.plugins" -> classOf[ExitPlugin].getName, "spark.task.cpus" -> "1",
    "spark.executor.cores" -> "1", "spark.cores.max" -> "2")
  private lazy val remote = Files.createTempDirectory("caffe-test-remote-")
  private lazy val remoteIsAway = remote.resolve("away")
  private var session: SparkSession = _
  private val listener = new FaultListener
  private def sc: SparkContext = session.sparkContext

  override def withFixture(test: NoArgTest): org.scalatest.Outcome = {
    if (session == null) {
      val files = RemoteFileSystem.settings(remote.resolve("log").toString) :+ ("fs.remote.away" -> remoteIsAway.toString)
      val more = TestCluster.settings ++ files.map { case (key, value) => s"spark.hadoop.$key" -> value }
      session = startCluster(master, settings ++ more: _*)
      sc.addSparkListener(listener)
    }
    awaitBoth()
    super.withFixture(test)
  }

  private def awaitBoth(): Unit = assert(within(60)(Cluster.awaitExecutors(sc, 2, 2 * patience)) == 2)

  override def afterAll(): Unit =
    try if (session != null) within(60)(session.stop())
    finally {
      Storage.delete(remote)
      super.afterAll()
    }

  private lazy val undisturbed = {
    var model = Option.empty[Seq[AnyRef]]
    scratch(folder => model = Some(within(120)(train(sc, smallSolver(folder), folder.resolve("out/m"))._1)))
    model.get
  }

  private def victim(): Long = Processes.of(sc).toSeq.minBy(_._1)._2

  /** Disturbs a run after its first checkpoint; it ends by itself with the weights of an undisturbed one. */
  private def recovers(name: String, seconds: Int)(disturb: => Unit): Unit = scratch { folder =>
    val expected = undisturbed
    val out = folder.resolve("out/m")
    val stranger = write(folder.resolve("out/.m.checkpoints-other/checkpoint_iter_9.caffemodel"), "not this job's")
    val before = TrainingMetrics.recoveries.get
    var at = 0L
    listener.firstFailure = 0
    val disturber = onCheckpoint(out) { at = System.nanoTime(); disturb }
    val (model, printed) = try within(seconds)(train(sc, smallSolver(folder), out)) finally disturber.interrupt()
    assert(at > 0, "the run was over before it could be disturbed")
    val line = printed.linesIterator.filter(_.startsWith("Recovery 1: ")).toSeq
    assert(line.length == 1 && TrainingMetrics.recoveries.get == before + 1, printed)
    assert(line.head.contains("; training goes on from iteration "), line)
    assert(model == expected)
    assert(names(folder.resolve("out")) == Set("m", "m.manifest", ".m.checkpoints-other"))
    assert(text(stranger) == "not this job's")
    assert(!sc.isStopped && sc.parallelize(1 to 4).sum() == 10)
    record(master, name, Some((listener.firstFailure - at) / 1e9), since(at), line.head)
  }

  test("kill -9 of an executor") {
    val pid = victim()
    recovers("kill -9", 120)(signal("KILL", pid))
    assert(Processes.of(sc).forall(_._2 != pid))
  }

  test("System.exit in an executor") {
    val pid = victim()
    recovers("System.exit", 120)(Files.createFile(ExitPlugin.order(pid)))
  }

  test("a native abort") {
    assume(all, "one of the slow cases")
    val pid = victim()
    recovers("native abort", 120)(signal("ABRT", pid))
  }

  test("a task that is killed; the processes stay") {
    val before = Processes.of(sc)
    recovers("task kill", 120)(sc.killTaskAttempt(listener.running.keys.min, interruptThread = false, "the test wants it"))
    assert(Processes.of(sc) == before)
  }

  test("a stopped process") {
    assume(all, "one of the slow cases")
    val pid = victim()
    try recovers("SIGSTOP", 180)(signal("STOP", pid))
    finally ProcessHandle.of(pid).ifPresent(process => process.destroyForcibly())
  }

  test("a stopped process that wakes up after training has gone on without it") {
    assume(all, "one of the slow cases")
    val pid = victim()
    val before = TrainingMetrics.recoveries.get
    try recovers("SIGSTOP, and SIGCONT when the others have gone on", 180) {
      signal("STOP", pid)
      while (TrainingMetrics.recoveries.get == before) Thread.sleep(5)
      if (ProcessHandle.of(pid).isPresent) signal("CONT", pid)
    } finally ProcessHandle.of(pid).ifPresent(process => process.destroyForcibly())
  }

  /** Somebody calls the workers as they connect; training does not notice, and a line in an executor's log says so. */
  private def refuses(name: String, reason: String)(secret: => Array[Byte]): Unit = scratch { folder =>
    val expected = undisturbed
    val pids = Processes.of(sc).map(_._2)
    val recoveries = TrainingMetrics.recoveries.get
    val stranger = new Stranger(pids, secret)
    val started = System.nanoTime()
    val (model, printed) = try within(120)(train(sc, smallSolver(folder), folder.resolve("out/m"))) finally stranger.close()
    assert(model == expected && TrainingMetrics.recoveries.get == recoveries, printed)
    assert(stranger.answers.exists(_.contains(reason)), stranger.answers)
    def told = pids.toSeq.flatMap(pid => text(TestCluster.log(pid)).linesIterator)
      .find(line => line.contains("refused a connection from ") && line.contains(reason))
    within(20)(while (told.isEmpty) Thread.sleep(20)) // a daemon carries an executor's words to its log
    record(master, name, None, since(started), told.get)
  }

  test("a process with another secret that calls the workers is refused") {
    refuses("wrong secret", "the secrets differ")(Array.fill(32)(7: Byte))
  }

  test("a worker of another attempt, which has the secret, is refused") {
    Secrets.kept(refuses("stale attempt", "left over from another attempt")(Secrets.first))
  }

  test("a task that is killed while the others end") {
    scratch { folder =>
      val expected = undisturbed
      val out = folder.resolve("out/m")
      val disturber = when(Files.exists(folder.resolve("out/m.manifest"))) {
        listener.running.keys.maxOption.foreach(sc.killTaskAttempt(_, interruptThread = false, "the test wants it"))
      }
      val (model, _) = try within(120)(train(sc, smallSolver(folder), out)) finally disturber.interrupt()
      assert(model == expected)
      assert(names(folder.resolve("out")) == Set("m", "m.manifest"))
    }
  }

  test("workers that Spark starts without the others that they need fail at once") {
    val error = intercept[Exception](within(60)(OneOfTwo.run(sc)))
    assert(error.getMessage.contains("Spark started only 1 of 2 workers again; all are needed"), error)
  }

  test("more failures than Spark's own retries: training is submitted anew") {
    scratch { folder =>
      val expected = undisturbed
      val out = folder.resolve("out/m")
      val fault = onCheckpoint(out) {
        val before = TrainingMetrics.recoveries.get
        var killed = -1L
        for (failure <- 0 to 1) {
          while (TrainingMetrics.recoveries.get < before + failure || !listener.running.keys.exists(_ > killed)) Thread.sleep(5)
          killed = listener.running.keys.max
          sc.killTaskAttempt(killed, interruptThread = false, "the test wants it")
        }
      }
      val (model, printed) = try within(120)(train(sc, smallSolver(folder), out)) finally fault.interrupt()
      assert(printed.contains("Recovery 1: ") && printed.contains("Recovery 2: "), printed)
      assert(model == expected)
    }
  }

  test("an error in the middle is told by all in one sentence, at once, and nothing is tried again") {
    scratch { folder =>
      BrokenLmdb.noDatum(folder.resolve("digits_train_lmdb"), record = 705)
      val before = Processes.of(sc)
      val recoveries = TrainingMetrics.recoveries.get
      val error = intercept[Exception](within(60)(train(sc, smallSolver(folder), folder.resolve("out/m"))))
      assert(error.getMessage.contains("00000705") && error.getMessage.contains("Datum"), error)
      assert(Processes.of(sc) == before && TrainingMetrics.recoveries.get == recoveries)
      assert(names(folder.resolve("out")).forall(_.startsWith(".m.checkpoints-")))
    }
  }

  test("a folder that cannot be written is told before training") {
    val started = System.nanoTime()
    scratch { folder =>
      val error = intercept[Exception](within(60)(train(sc, smallSolver(folder), Paths.get("/proc/m"))))
      assert(error.getMessage.contains("file:/proc/m cannot be written from host"), error)
      record(master, "folder cannot be written", Some(since(started)), since(started), error.getMessage)
    }
  }

  private val SmallDisk = 200 << 10 // has room for a model of this network, but not for a solver state beside it

  private def run(command: String*): Boolean = new ProcessBuilder(command: _*).start().waitFor() == 0

  /** A file system with so many bytes, where this process may mount one. */
  private def onSmallDisk(bytes: Int)(body: (Path, Path) => Unit): Unit = scratch { folder =>
    val disk = Files.createDirectory(folder.resolve("disk"))
    assume(run("mount", "-t", "tmpfs", "-o", s"size=$bytes", "none", disk.toString), "mounting a small disk is not allowed here")
    try body(folder, disk)
    finally run("umount", "-l", disk.toString)
  }

  test("a disk without room for checkpoints: training ends well, and says what is missing") {
    val expected = undisturbed
    onSmallDisk(SmallDisk) { (folder, disk) =>
      val started = System.nanoTime()
      val (model, printed) = within(120)(train(sc, smallSolver(folder), disk.resolve("m")))
      assert(model == expected)
      record(master, "disk full: no room for checkpoints", None, since(started), "training ends well")
      assert(printed.contains("could not be written, training goes on: "), printed.take(2000))
      assert(names(disk) == Set("m", "m.manifest"))
    }
  }

  test("a disk without room for a snapshot: one sentence, and nothing incomplete stays") {
    onSmallDisk(SmallDisk) { (folder, disk) =>
      val solver = smallSolver(folder, Iterations, "snapshot: 500")
      val started = System.nanoTime()
      val error = intercept[Exception](within(120)(train(sc, solver, disk.resolve("m"))))
      record(master, "disk full: no room for a snapshot", None, since(started), error.getMessage)
      assert(error.getMessage.contains("cannot be written from host") && error.getMessage.contains("No space left"), error)
      assert(names(disk).subsetOf(Set("l_iter_500.caffemodel")), names(disk).map(name => name -> names(disk.resolve(name))))
    }
  }

  test("a folder that becomes read-only: the next snapshot ends training with one sentence; what is there stays") {
    onSmallDisk(100 * SmallDisk) { (folder, disk) =>
      var at = 0L
      val disturber = when(Files.exists(disk.resolve("l_iter_1000.manifest"))) {
        while (!run("mount", "-o", "remount,ro", disk.toString)) Thread.sleep(1) // not while a file is being written
        at = System.nanoTime()
      }
      val error = try intercept[Exception] {
        within(120)(train(sc, smallSolver(folder, 10 * Iterations, "snapshot: 1000"), disk.resolve("m")))
      } finally disturber.interrupt()
      assert(error.getMessage.contains("cannot be written from host") && error.getMessage.contains("ead-only"), error)
      assert(Files.exists(disk.resolve("l_iter_1000.caffemodel")) && !Files.exists(disk.resolve("m")))
      record(master, "snapshot folder becomes read-only", None, since(at), error.getMessage)
    }
  }

  test("a file system that goes away for a while is waited for") {
    scratch { folder =>
      val expected = undisturbed
      val away = if (all) 20000 else 2000
      val out = folder.resolve("out/m")
      var began = 0L
      val disturber = when(Files.exists(folder.resolve("out/l_iter_1000.manifest"))) {
        began = System.nanoTime()
        write(remoteIsAway, "")
        Thread.sleep(away)
        Files.delete(remoteIsAway)
      }
      val solver = smallSolver(folder, Iterations, "snapshot: 1000")
      val (model, _) = try within(180)(train(sc, solver, out, "-model", s"remote://host$out"))
        finally disturber.interrupt()
      assert(began > 0 && model == expected)
      assert((1 to 6).forall(i => Files.exists(folder.resolve(s"out/l_iter_${i}000.manifest"))))
      record(master, s"file system away for ${away / 1000} s", None, since(began), "waited for")
    }
  }

  test("fewer executors for good: with -elastic training goes on with the rest, else it ends with one sentence") {
    scratch { folder =>
      for (elastic <- if (all) Seq(true, false) else Seq(true)) {
        val out = folder.resolve(s"$elastic/m")
        val lost = Processes.of(sc).toSeq.minBy(_._1)._1
        val disturber = onCheckpoint(out)(sc.killExecutor(lost))
        def run() = try within(180)(train(sc, smallSolver(folder), out, (if (elastic) Seq("-elastic") else Nil): _*))
          finally disturber.interrupt()
        if (elastic) {
          val (_, printed) = run()
          assert(printed.contains("Training goes on with 1 of 2 executors (-elastic)"), printed)
          val manifest = Manifest.parse(text(folder.resolve("true/m.manifest"))).get
          assert(manifest.world == 1 && manifest.position % 8 == 0)
          assert(manifest.position > Iterations * 8L && manifest.position < Iterations * 16L)
        } else {
          val error = intercept[IllegalStateException](run())
          assert(error.getMessage.contains(s"training needs 2 executors, but after $patience s Spark has only 1"), error)
        }
        sc.requestTotalExecutors(2, 0, Map.empty)
        awaitBoth()
      }
    }
  }
}
