package com.yahoo.ml.caffe

import java.util.concurrent.{ConcurrentHashMap, ConcurrentLinkedQueue, CountDownLatch, TimeUnit}

import org.apache.spark.scheduler.{SparkListener, SparkListenerStageCompleted, SparkListenerStageSubmitted,
  SparkListenerTaskStart, TaskInfo}
import org.apache.spark.sql.SparkSession
import org.apache.spark.SparkConf

import scala.jdk.CollectionConverters._

/** Where Spark ran the tasks of barrier stages. */
private final class BarrierTasks extends SparkListener {
  private val stages = ConcurrentHashMap.newKeySet[Int]()
  private val tasks = new ConcurrentLinkedQueue[TaskInfo]
  private val completed = new CountDownLatch(1)

  override def onStageSubmitted(event: SparkListenerStageSubmitted): Unit =
    if (event.stageInfo.rddInfos.exists(_.isBarrier)) stages.add(event.stageInfo.stageId)

  override def onTaskStart(event: SparkListenerTaskStart): Unit = if (stages.contains(event.stageId)) tasks.add(event.taskInfo)

  override def onStageCompleted(event: SparkListenerStageCompleted): Unit =
    if (stages.contains(event.stageInfo.stageId)) completed.countDown()

  /** Those of the first stage, once it is over: events come late. */
  def all(): Seq[TaskInfo] = {
    require(completed.await(30, TimeUnit.SECONDS))
    tasks.asScala.toList
  }
}

/** What executors run must not be the suite's: they have no ScalaTest. */
private object Keys {
  def distinct(records: LmdbRDD): Long = records.map(_._1).distinct().count()
}

/** How many workers there are, and where, under the settings of Spark that bear on it. */
class WorkersSuite extends SparkTest {
  private def train(session: SparkSession, more: String*)(check: (Config, Seq[TaskInfo]) => Unit): Unit = within(200) {
    scratch { folder =>
      val sc = session.sparkContext
      val args = Seq("-conf", solver(folder, 3, "display: 1").toString, "-model", s"file:$folder/m", "-features",
        "ip1", "-label", "label", "-lmdb_partitions", "9") ++ more
      val conf = new Config(sc, args.toArray)
      val caffe = new CaffeOnSpark(sc)
      val listener = new BarrierTasks
      sc.addSparkListener(listener)
      caffe.train(DataSource.getSource(conf, true))
      val memory = caffe.trainingSummary.last
      assert(memory.startsWith("Memory of worker ") && memory.contains(" native beside "), memory)
      check(conf, listener.all())
      sc.removeSparkListener(listener)
      val rows = caffe.features(DataSource.getSource(conf, false)).select("SampleID").collect().map(_.getString(0))
      assert(rows.length == 360 && rows.distinct.length == 360)
    }
  }

  test("executors of several cores, spark.task.cpus, speculation: a worker for each executor, none twice") {
    withCluster("spark.master" -> "local-cluster[2,4,1024]", "spark.task.cpus" -> "2", "spark.speculation" -> "true",
      "spark.speculation.interval" -> "10ms", "spark.speculation.multiplier" -> "1",
      "spark.speculation.quantile" -> "0.1") { session =>
      train(session) { (conf, tasks) =>
        assert(conf.clusterSize == 2) // not given
        assert(tasks.map(_.executorId).sorted == Seq("0", "1") && !tasks.exists(_.speculative))
      }
      train(session, "-devices", "2") { (_, tasks) => assert(tasks.map(_.executorId).sorted == Seq("0", "0", "1", "1")) }
      train(session, "-clusterSize", "1") { (_, tasks) => assert(tasks.length == 1) }
      val error = intercept[IllegalStateException](train(session, "-devices", "3")((_, _) => ())).getMessage
      assert(error == "-devices 3 needs executors of at least 6 cores, but they have 4; raise spark.executor.cores or lower " +
        "-devices")
    }
  }

  test("dynamic allocation: features are extracted, training is refused") {
    withCluster("spark.dynamicAllocation.enabled" -> "true", "spark.dynamicAllocation.shuffleTracking.enabled" -> "true",
      "spark.dynamicAllocation.minExecutors" -> "1") { session =>
      scratch { folder =>
        val error = intercept[IllegalStateException](train(session)((_, _) => ())).getMessage
        assert(error.startsWith("training needs a fixed number of executors: set spark.dynamicAllocation.enabled to"), error)
        within(120) {
          val records = new LmdbRDD(session.sparkContext, s"$folder/digits_test_lmdb", 4)
          assert(Keys.distinct(records) == 360)
        }
      }
    }
  }

  test("GPUs that Spark's resource API gives out are read, and refused by name") {
    scratch { folder =>
      val script = write(folder.resolve("gpus.sh"), "#!/bin/sh\necho '{\"name\": \"gpu\", \"addresses\": [\"3\", \"5\"]}'\n")
      script.toFile.setExecutable(true)
      val resource = Seq("executor", "worker").flatMap { who =>
        Seq(s"spark.$who.resource.gpu.amount" -> "2", s"spark.$who.resource.gpu.discoveryScript" -> script.toString)
      }
      withCluster(resource :+ ("spark.task.resource.gpu.amount" -> "2"): _*) { session =>
        val error = intercept[IllegalArgumentException](train(session)((_, _) => ())).getMessage
        assert(error.startsWith("Spark gave this task the GPU(s) 3, 5, but this version computes on CPUs only; leave out " +
          "spark.task.resource.gpu.amount and spark.executor.resource.gpu.amount"), error)
      }
    }
    val idle = intercept[IllegalArgumentException](
      Gpus.refuseIdle(new SparkConf(false).set("spark.executor.resource.gpu.amount", "1"))).getMessage
    assert(idle == "spark.executor.resource.gpu.amount is 1, but this version computes on CPUs only; leave it out")
  }

  test("what is said about memory names the setting where it is scarce") {
    val gb = 1000000000L
    def granted(master: String, settings: (String, String)*): Option[Long] =
      ProcessMemory.overhead(new SparkConf(false).setAll(settings), master)
    assert(granted("yarn") == Some(384L << 20) && granted("spark://m:7077").isEmpty)
    assert(granted("k8s://s", "spark.executor.memory" -> "20g") == Some(2L << 30))
    assert(granted("yarn", "spark.executor.memoryOverhead" -> "3g") == Some(3L << 30))
    assert(granted("yarn", "spark.executor.memoryOverhead" -> "512") == Some(512L << 20))
    val memory = ProcessMemory(own = 3 * gb, heap = gb)
    assert(ProcessMemory.line("x", memory, None) == "Memory of x: 2.00 GB native beside 1.00 GB of Java's heap")
    assert(ProcessMemory.line("x", memory, Some(4 * gb)).endsWith("heap; spark.executor.memoryOverhead is 4.00 GB"))
    assert(ProcessMemory.line("x", memory, Some(2 * gb)).endsWith(
      "spark.executor.memoryOverhead is only 2.00 GB: set it to 2560m, or the cluster may end executors"))
  }
}
