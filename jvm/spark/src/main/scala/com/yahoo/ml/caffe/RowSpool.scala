package com.yahoo.ml.caffe

import java.nio.file.{Path => LocalPath}

import com.yahoo.ml.caffe.engine.RowFile
import org.apache.spark.rdd.RDD
import org.apache.spark.{Partitioner, SparkContext}

/** A layer that is fed with rows: its tag in the job, and what messages call it and its source. */
private[caffe] final case class RowLayer(tag: Int, layer: String, source: String)

/** The way of rows from Spark to the disks of the workers. */
private[caffe] object RowSpool {
  private val PartitionBits = 40

  /**
   * One partition per worker with its rows of every source: (tag, row). Of a source, row i goes to worker i mod `workers`,
   * and stands at place i: so their numbers differ by one at most, and with one store instead of the files of all workers
   * everyone would read the same.
   */
  def partition(sc: SparkContext, sources: Seq[(Int, RDD[Array[Byte]])], workers: Int): RDD[(Int, Array[Byte])] =
    if (sources.isEmpty) sc.parallelize(0 until workers, workers).mapPartitions(_ => Iterator[(Int, Array[Byte])]())
    else {
      val keyed = sources.map { case (tag, rows) =>
        numbered(rows, workers).map { case (number, row) =>
          ((number % workers).toInt + workers * tag, RowRecord.withOrder(row, number))
        }
      }
      sc.union(keyed).partitionBy(new WorkerPartitioner(workers)).mapPartitions(_.map { case (key, row) => (key / workers, row) })
    }

  /** Counts the rows first, unless their order alone will do. */
  private def numbered(rows: RDD[Array[Byte]], workers: Int): RDD[(Long, Array[Byte])] =
    if (workers > 1) rows.zipWithIndex().map { case (row, number) => (number, row) }
    else rows.mapPartitionsWithIndex { (part, rows) =>
      rows.zipWithIndex.map { case (row, i) => ((part.toLong << PartitionBits) + i, row) }
    }

  private final class WorkerPartitioner(workers: Int) extends Partitioner {
    override def numPartitions: Int = workers
    override def getPartition(key: Any): Int = key.asInstanceOf[Int] % workers
    override def equals(other: Any): Boolean = other match {
      case that: WorkerPartitioner => that.numPartitions == numPartitions
      case _ => false
    }
    override def hashCode: Int = workers
  }

  /** A worker's rows to files, which go with the folder; by their layers' tags. */
  def write(rows: Iterator[(Int, Array[Byte])], layers: Seq[RowLayer], folder: LocalPath, workers: Int)
      : Map[Int, LocalPath] = {
    val files = layers.map(layer => layer -> folder.resolve(s"${layer.tag}.rows"))
    val open = files.map { case (layer, path) => layer.tag -> RowFile.create(path.toString, layer.source) }.toMap
    try {
      rows.foreach { case (tag, row) => open(tag).append(row) }
      for (layer <- layers if open(layer.tag).finish() == 0) {
        throw new IllegalArgumentException(s"${layer.layer}: ${layer.source} has fewer rows than there are workers ($workers)")
      }
    } finally open.values.foreach(_.close())
    files.map { case (layer, path) => layer.tag -> path }.toMap
  }
}
