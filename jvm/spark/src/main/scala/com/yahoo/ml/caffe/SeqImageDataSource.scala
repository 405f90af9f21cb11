package com.yahoo.ml.caffe

import org.apache.hadoop.io.BytesWritable
import org.apache.spark.SparkContext
import org.apache.spark.rdd.RDD
import org.apache.spark.storage.StorageLevel

/** The source_class for SequenceFiles that Binary2Sequence, LMDB2Sequence or CaffeOnSpark wrote. */
class SeqImageDataSource(conf: Config, layerId: Int, isTrain: Boolean) extends ImageDataSource(conf, layerId, isTrain) {
  override def makeRDD(sc: SparkContext): RDD[(String, String, Int, Int, Int, Boolean, Array[Byte])] = {
    val path = new Storage(sc.hadoopConfiguration).existing(sourceFilePath, Nets.describe(layerParameter))
    val samples = sc.sequenceFile(path.toString, classOf[BytesWritable], classOf[BytesWritable], conf.clusterSize).map {
      case (key, value) =>
        val (id, label, channels, height, width, encoded) = SerializedKey.parse(key.copyBytes())
        (id, label, channels, height, width, encoded, value.copyBytes())
    }
    if (conf.isRddPersistent) samples.persist(StorageLevel.DISK_ONLY)
    samples
  }
}
