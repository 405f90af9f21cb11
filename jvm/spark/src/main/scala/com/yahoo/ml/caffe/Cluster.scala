package com.yahoo.ml.caffe

import org.apache.spark.SparkContext
import org.apache.spark.rdd.RDD
import org.apache.spark.resource.{ResourceProfileBuilder, TaskResourceRequests}

/** Where the workers of one training run. */
private[caffe] final case class Placement(executorCores: Int, wholeExecutors: Boolean) {
  /** One worker per executor: a task then asks for all its cores. */
  def apply[A](rdd: RDD[A]): RDD[A] =
    if (!wholeExecutors) rdd
    else rdd.withResources(new ResourceProfileBuilder().require(new TaskResourceRequests().cpus(executorCores)).build())
}

private[caffe] object Cluster {
  /** Spark property: seconds to wait for executors and for the first worker to start. */
  val StartTimeout = "spark.caffe.startTimeout"
  private val UsualSeconds = 25
  private val SecondsForPromised = 120
  private val local = """local(?:\[(\d+|\*)(?:\s*,\s*\d+)?\])?""".r
  private val localCluster = """local-cluster\[\s*(\d+)\s*,\s*(\d+)\s*,\s*\d+\s*\]""".r

  def startTimeoutSeconds(sc: SparkContext): Int = sc.getConf.getInt(StartTimeout, UsualSeconds)

  /** Waits until Spark has room for `workers` tasks at once; says why if it has not. */
  def place(sc: SparkContext, workers: Int): Placement = {
    val conf = sc.getConf
    if (conf.getBoolean("spark.dynamicAllocation.enabled", defaultValue = false)) {
      throw new IllegalStateException("training needs a fixed number of executors: set spark.dynamicAllocation.enabled to " +
        "false and name the number with -clusterSize or --num-executors")
    }
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
        Placement(cores, wholeExecutors = false)
      case _ => placeOnExecutors(sc, workers, taskCpus)
    }
  }

  private def placeOnExecutors(sc: SparkContext, workers: Int, taskCpus: Int): Placement = {
    val promised = promisedExecutors(sc)
    promised.filter(_ < workers).foreach(count => throw tooFew(workers, s"this application gets only $count"))
    // Executors that Spark is sure to start may be slow; others may never come.
    val seconds = sc.getConf.getInt(StartTimeout, if (promised.isDefined) SecondsForPromised else UsualSeconds)
    val deadline = System.nanoTime() + seconds * 1000000000L
    while (executors(sc) < workers && System.nanoTime() < deadline) Thread.sleep(50)
    val found = executors(sc)
    if (found < workers) throw tooFew(workers, s"after $seconds s Spark has only $found")
    val cores = executorCores(sc, found)
    if (cores < taskCpus) {
      throw new IllegalStateException(s"spark.task.cpus is $taskCpus, but executors have $cores core(s)")
    }
    Placement(cores, wholeExecutors = cores > taskCpus)
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
        conf.getOption("spark.executor.instances").map(_.toInt)
      case _ => None
    }
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
