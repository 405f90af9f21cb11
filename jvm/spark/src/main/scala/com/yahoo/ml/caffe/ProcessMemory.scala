package com.yahoo.ml.caffe

import java.lang.management.ManagementFactory
import java.nio.file.{Files, Paths}

import org.apache.spark.SparkConf

import scala.jdk.CollectionConverters._
import scala.util.Try

/** Memory of a process in bytes: its own (without mapped files), and what of that is Java's heap. */
private[caffe] final case class ProcessMemory(own: Long, heap: Long) {
  def native: Long = math.max(0, own - heap)

  def max(other: ProcessMemory): ProcessMemory = if (other.native > native) other else this
}

private[caffe] object ProcessMemory {
  private val MiB = 1L << 20
  private val Enough = 0.9 // of what Spark gives
  private val Spare = 1.25 // of what is needed

  /** As the system counts it now. */
  def now(): ProcessMemory = {
    val status = Try(Files.readAllLines(Paths.get("/proc/self/status")).asScala.toSeq).getOrElse(Nil)
    val own = Seq("RssAnon:", "RssShmem:").flatMap(field => status.find(_.startsWith(field)))
      .map(line => line.filter(_.isDigit).toLong * 1024).sum
    ProcessMemory(own, ManagementFactory.getMemoryMXBean.getHeapMemoryUsage.getCommitted)
  }

  /** What Spark gives an executor beside its heap, in bytes; None where nobody looks. */
  def overhead(conf: SparkConf, master: String): Option[Long] =
    if (!master.startsWith("yarn") && !master.startsWith("k8s")) None
    else {
      val heap = conf.getSizeAsBytes("spark.executor.memory", "1g")
      val least = conf.getSizeAsMb("spark.executor.minMemoryOverhead", "384m") * MiB
      val share = conf.getDouble("spark.executor.memoryOverheadFactor", 0.1)
      Some(if (conf.contains("spark.executor.memoryOverhead")) conf.getSizeAsMb("spark.executor.memoryOverhead") * MiB
      else math.max(least, (heap * share).toLong))
    }

  /** For the terminal: who has how much, what Spark gave, and what to change where that is scarce. */
  def line(who: String, memory: ProcessMemory, granted: Option[Long]): String = {
    val has = s"Memory of $who: ${gigabytes(memory.native)} native beside ${gigabytes(memory.heap)} of Java's heap"
    granted match {
      case Some(bytes) if memory.native > Enough * bytes =>
        val wanted = math.ceil(memory.native * Spare / (256 * MiB)).toLong * 256
        s"$has; spark.executor.memoryOverhead is only ${gigabytes(bytes)}: set it to ${wanted}m, or the cluster may end executors"
      case Some(bytes) => s"$has; spark.executor.memoryOverhead is ${gigabytes(bytes)}"
      case None => has
    }
  }

  private def gigabytes(bytes: Long): String = String.format(java.util.Locale.ROOT, "%.2f GB", Double.box(bytes / 1e9))
}
