package com.yahoo.ml.caffe

import java.io.IOException
import java.nio.file.{Files, Path, Paths}

import com.yahoo.ml.caffe.engine.RecordSource
import org.apache.spark.rdd.RDD
import org.apache.spark.storage.StorageLevel
import org.apache.spark.{InterruptibleIterator, Partition, SparkContext, TaskContext}

/** Records `begin` until `end` of a store, in key order. */
private[caffe] final class LmdbPartition(override val index: Int, val begin: Long, val end: Long) extends Partition

/**
 * The images of an LMDB in a folder of every host or of a Hadoop file system: (id, label, channels, height, width, encoded, bytes), where the
 * bytes of an image that is not encoded are height x width x channels.
 */
class LmdbRDD(@transient override val sparkContext: SparkContext, val lmdb_path: String, val numPartitions: Int)
    extends RDD[(String, String, Int, Int, Int, Boolean, Array[Byte])](sparkContext, Nil) {
  if (numPartitions < 1) throw new IllegalArgumentException(s"an LmdbRDD needs at least 1 partition, not $numPartitions")

  /** The context that the RDD was made with. */
  def sc: SparkContext = sparkContext

  private[caffe] def backend: String = "LMDB"

  private val hadoop = new HadoopSettings(sparkContext.hadoopConfiguration)

  override protected def getPartitions: Array[Partition] = {
    val size = Records.size(sparkContext, backend, lmdb_path)
    Records.ranges(size, numPartitions).zipWithIndex.map { case ((begin, end), i) => new LmdbPartition(i, begin, end) }
      .toArray
  }

  override def compute(split: Partition, context: TaskContext)
      : Iterator[(String, String, Int, Int, Int, Boolean, Array[Byte])] = {
    val part = split.asInstanceOf[LmdbPartition]
    val copies = new HostCopies(hadoop.storage)
    context.addTaskCompletionListener[Unit](_ => copies.close())
    val source = Guarded.inTask(context, Records.open(backend, lmdb_path, copies))
    new InterruptibleIterator(context, Iterator.iterate(part.begin)(_ + 1).takeWhile(_ < part.end).map { i =>
      val r = source.use(_.read(i))
      (r.key, r.label.toString, r.channels, r.height, r.width, r.encoded, r.data)
    })
  }
}

private[caffe] object LmdbRDD {
  def over(sc: SparkContext, conf: Config, store: String, folder: String): LmdbRDD = {
    val rdd = new LmdbRDD(sc, folder, conf.lmdb_partitions) {
      private[caffe] override def backend: String = store
    }
    if (conf.isRddPersistent) rdd.persist(StorageLevel.DISK_ONLY)
    rdd
  }
}

/** Stores of records on this host. */
private[caffe] object Records {
  def open(backend: String, source: String, copies: HostCopies): RecordSource = {
    val folder = copies.folder(source, backend)
    requireFolder(backend, folder)
    RecordSource.open(backend, folder.toString)
  }

  /** Does a library from outside read the records? */
  def isLibrary(backend: String): Boolean = backend.endsWith(".so")

  def requireFolder(backend: String, folder: Path): Unit =
    if (!isLibrary(backend) && !Files.isDirectory(folder)) {
      throw new IOException(s"$backend folder $folder does not exist on host ${Storage.host}; every host needs a copy of it, " +
        "or name one on a Hadoop file system, like hdfs://")
    }

  /** Read here if the folder is here, else on an executor. */
  def size(sc: SparkContext, backend: String, source: String): Long = {
    val hadoop = new HadoopSettings(sc.hadoopConfiguration)
    if (Storage.localName(source).exists(name => Files.isDirectory(Paths.get(name)))) sizeHere(backend, source, hadoop)
    else Failures.explained {
      sc.parallelize(Seq(0), 1).map(_ => sizeHere(backend, source, hadoop)).first()
    }
  }

  private def sizeHere(backend: String, name: String, hadoop: HadoopSettings): Long = {
    val copies = new HostCopies(hadoop.storage)
    try {
      val source = open(backend, name, copies)
      try source.size()
      finally source.close()
    } finally copies.close()
  }

  /** `parts` ranges of nearly equal length; empty ones where there are fewer records than parts. */
  def ranges(size: Long, parts: Int): Seq[(Long, Long)] =
    (0 until parts).map(i => (size * i / parts, size * (i + 1) / parts))
}
