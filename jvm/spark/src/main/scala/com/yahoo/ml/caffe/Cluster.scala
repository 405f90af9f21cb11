package com.yahoo.ml.caffe

import org.apache.spark.SparkContext
import org.apache.spark.rdd.RDD
import org.apache.spark.resource.{ResourceProfileBuilder, TaskResourceRequests}
import org.slf4j.LoggerFactory

/** Where the workers of one training run: `taskCores` is what a task must ask for, None where Spark's default does. */
private[caffe] final case class Placement(executorCores: Int, taskCores: Option[Int], others: Map[String, Double] = Map.empty) {
  /** As many workers per executor as the devices: a task then asks for its share of the cores, and for all else as before. */
  def apply[A](rdd: RDD[A]): RDD[A] = taskCores.fold(rdd) { cores =>
    val requests = new TaskResourceRequests().cpus(cores)
    others.foreach { case (name, amount) => requests.resource(name, amount) }
    rdd.withResources(new ResourceProfileBuilder().require(requests).build())
  }
}

private[caffe] object Cluster {
  /** Spark property: seconds to wait for executors and for the first worker to start. */
  val StartTimeout = "spark.caffe.startTimeout"
  /** Spark property: how long lost executors may stay away before training goes on without them, or fails. */
  val RecoveryTimeout = "spark.caffe.recoveryTimeout"
  private val log = LoggerFactory.getLogger(classOf[CaffeOnSpark])
  private val UsualInstances = 2 // Spark's own default
  private val UsualSeconds = 25
  private val SecondsForPromised = 120
  private val SettlingSeconds = 2
  private val taskResource = """spark\.task\.resource\.(.+)\.amount""".r
  private val local = """local(?:\[(\d+|\*)(?:\s*,\s*\d+)?\])?""".r
  private val localCluster = """local-cluster\[\s*(\d+)\s*,\s*(\d+)\s*,\s*\d+\s*\]""".r

  def startTimeoutSeconds(sc: SparkContext): Int = sc.getConf.getInt(StartTimeout, UsualSeconds)

  /**
   * Waits until Spark has room for `executors` executors with `devices` workers each; says why if it has not. In local
   * mode all workers are threads of one process.
   */
  def place(sc: SparkContext, executors: Int, devices: Int): Placement = {
    val workers = executors * devices
    val conf = sc.getConf
    if (conf.getBoolean("spark.dynamicAllocation.enabled", defaultValue = false)) {
      throw new IllegalStateException("training needs a fixed number of executors: set spark.dynamicAllocation.enabled to " +
        "false and name the number with -clusterSize or --num-executors")
    }
    Gpus.refuseIdle(conf)
    val taskCpus = conf.getInt("spark.task.cpus", 1)
    sc.master match {
      case local(threads) =>
        val cores = threads match {
          case null => 1
          case "*" => Runtime.getRuntime.availableProcessors
          case n => n.toInt
        }
        if (cores / taskCpus < workers) {
          throw new IllegalStateException(s"$workers workers were asked for, but the master ${sc.master} runs only " +
            s"${cores / taskCpus} task(s) at once; lower -clusterSize or use local[${workers * taskCpus}]")
        }
        Placement(cores, None)
      case _ => placeOnExecutors(sc, executors, devices, taskCpus)
    }
  }

  private def placeOnExecutors(sc: SparkContext, workers: Int, devices: Int, taskCpus: Int): Placement = {
    val promised = promisedExecutors(sc)
    promised.filter(_ < workers).foreach(count => throw tooFew(workers, s"this application gets only $count"))
    val seconds = patience(sc, promised)
    val found = waitForExecutors(sc, workers, seconds)
    if (found < workers) throw tooFew(workers, s"after $seconds s Spark has only $found")
    val cores = executorCores(sc, found)
    if (cores < taskCpus) {
      throw new IllegalStateException(s"spark.task.cpus is $taskCpus, but executors have $cores core(s)")
    }
    if (cores / devices < taskCpus) {
      throw new IllegalStateException(s"-devices $devices needs executors of at least ${devices * taskCpus} cores, but they " +
        s"have $cores; raise spark.executor.cores or lower -devices")
    }
    val others = sc.getConf.getAll.collect { case (taskResource(name), amount) => name -> amount.toDouble }.toMap
    Placement(cores, if (cores / devices > taskCpus) Some(cores / devices) else None, others)
  }

  /** Executors that Spark is sure to start may be slow; others may never come. */
  private def patience(sc: SparkContext, promised: Option[Int]): Int =
    sc.getConf.getInt(StartTimeout, if (promised.isDefined) SecondsForPromised else UsualSeconds)

  /** How many there are as soon as there are `enough`, or when time is up. */
  private def waitForExecutors(sc: SparkContext, enough: Int, seconds: Int): Int = {
    val deadline = System.nanoTime() + seconds * 1000000000L
    while (executors(sc) < enough && System.nanoTime() < deadline) Thread.sleep(50)
    executors(sc)
  }

  /**
   * The executors that Spark can use now, for those who name no number; 1 in local mode, where there is one process. Where
   * nobody knows how many will come, they are counted when none has come for some time.
   */
  def executorsNow(sc: SparkContext): Int = sc.master match {
    case local(_) => 1
    case _ =>
      val promised = promisedExecutors(sc)
      var found = waitForExecutors(sc, promised.getOrElse(1), patience(sc, promised))
      if (found == 0) {
        throw new IllegalStateException(s"after ${patience(sc, promised)} s Spark has no executor for this application; start " +
          s"workers or free some, or raise $StartTimeout")
      }
      if (promised.isEmpty) {
        var before = 0
        while (before < found) {
          before = found
          found = waitForExecutors(sc, found + 1, SettlingSeconds)
        }
      }
      log.info(s"-clusterSize is not given: one worker for each of the $found executor(s)")
      found
  }

  private def tooFew(workers: Int, found: String): IllegalStateException =
    new IllegalStateException(s"$workers workers were asked for, one executor each, but $found; start more executors, " +
      s"lower -clusterSize, or raise $StartTimeout")

  /** How many executors the application was promised; None where only the cluster manager knows. */
  private def promisedExecutors(sc: SparkContext): Option[Int] = {
    val conf = sc.getConf
    sc.master match {
      case localCluster(workers, cores) =>
        val perExecutor = conf.getInt("spark.executor.cores", cores.toInt)
        Some(workers.toInt * math.max(1, cores.toInt / perExecutor))
      case master if master.startsWith("yarn") || master.startsWith("k8s") =>
        Some(conf.getInt("spark.executor.instances", UsualInstances))
      case _ => None
    }
  }

  /** More than Spark needs to notice a silent executor (spark.network.timeout) and to replace it. */
  def recoveryTimeoutSeconds(sc: SparkContext): Int = sc.getConf.getTimeAsSeconds(RecoveryTimeout, "300s").toInt

  /** How many executors there are as soon as there are `wanted`, or after so many seconds. */
  def awaitExecutors(sc: SparkContext, wanted: Int, seconds: Int): Int = sc.master match {
    case local(_) => wanted
    case _ => waitForExecutors(sc, wanted, seconds)
  }

  /** Without the driver's own entry. */
  private def executors(sc: SparkContext): Int = sc.getExecutorMemoryStatus.size - 1

  /** Cores of an executor. Where nothing says so, Spark's total over their number. */
  def executorCores(sc: SparkContext, executors: Int): Int = {
    val conf = sc.getConf
    sc.master match {
      case local(null) => 1
      case local("*") => Runtime.getRuntime.availableProcessors
      case local(n) => n.toInt
      case _ if conf.contains("spark.executor.cores") => conf.getInt("spark.executor.cores", 1)
      case localCluster(_, cores) => cores.toInt
      case master if master.startsWith("spark://") && !conf.contains("spark.default.parallelism") && executors > 1 =>
        math.max(1, sc.defaultParallelism / executors)
      case _ => conf.getInt("spark.task.cpus", 1)
    }
  }

  /** Threads for each of `tasks` tasks that run at once as far as they fit. */
  def threadsPerTask(sc: SparkContext, tasks: Int): Int = {
    val hosts = math.max(1, executors(sc))
    val cores = executorCores(sc, hosts)
    val taskCpus = sc.getConf.getInt("spark.task.cpus", 1)
    val atOnce = math.max(1, math.min(cores / taskCpus, (tasks + hosts - 1) / hosts))
    math.max(taskCpus, cores / atOnce)
  }
}
