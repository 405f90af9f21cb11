package com.yahoo.ml.caffe

import java.nio.file.Path

import com.yahoo.ml.jcaffe.{FloatBlob, Mat, MatVector}
import org.apache.spark.SparkContext
import org.apache.spark.rdd.RDD

/** A source of labelled images: (id, label, channels, height, width, encoded, bytes). */
abstract class ImageDataSource(conf: Config, layerId: Int, isTrain: Boolean)
    extends DataSource[(String, String, Int, Int, Int, Boolean, Array[Byte]), (MatVector, FloatBlob)](
      conf, layerId, isTrain, (null, null, 0, 0, 0, false, null)) {
  protected var channels: Int = 0
  protected var height: Int = 0
  protected var width: Int = 0

  override def init(): Boolean = super.init() && {
    readLayer()
    true
  }

  protected def readLayer(): Unit = {
    val memory = layerParameter.getMemoryDataParam
    channels = memory.getChannels
    height = memory.getHeight
    width = memory.getWidth
    requireLayer(memory.getSource, memory.getBatchSize)
  }

  protected final def requireLayer(source: String, batch: Int): Unit = {
    val layer = Nets.describe(layerParameter)
    if (source.isEmpty) throw new IllegalArgumentException(s"$layer has no source")
    if (batch < 1) throw new IllegalArgumentException(s"$layer has no batch_size")
    sourceFilePath = source
    setBatchSize(batch)
  }

  /** Does a subclass collect batches in a way of its own? */
  private[caffe] def ownBatches: Boolean =
    authorOf("nextBatch", classOf[Array[String]], classOf[(_, _)]) != classOf[ImageDataSource]

  /** Straight from the samples, where nobody else collects them. */
  override private[caffe] def rows(sc: SparkContext): RDD[Array[Byte]] =
    if (ownBatches) super.rows(sc)
    else {
      val reader = new ImageRows(layerParameter)
      makeRDD(sc).map(reader.read(_))
    }

  override def dummyDataHolder(): (MatVector, FloatBlob) = {
    val labels = new FloatBlob
    labels.reshape(batchSize(), 1, 1, 1)
    (new MatVector(batchSize()), labels)
  }

  /** Data and labels. */
  override def dummyDataBlobs(): Array[FloatBlob] = {
    val images = new FloatBlob
    images.reshape(batchSize(), channels, height, width)
    val labels = new FloatBlob
    labels.reshape(batchSize(), 1, 1, 1)
    Array(images, labels)
  }

  /** A last batch that is not full leaves null in the rest of sampleIds. */
  override def nextBatch(sampleIds: Array[String], data: (MatVector, FloatBlob)): Boolean = {
    val (images, labels) = data
    var filled = 0
    var open = true
    while (open && filled < batchSize()) {
      val sample = sourceQueue.take()
      if (sample._1 == null && sample._7 == null) open = false
      else {
        val (id, label, c, h, w, encoded, bytes) = sample
        sampleIds(filled) = id
        labels.data()(filled) = label.toFloat
        images.put(filled, if (encoded) new Mat(bytes) else new Mat(c, h, w, bytes))
        filled += 1
      }
    }
    java.util.Arrays.fill(sampleIds.asInstanceOf[Array[AnyRef]], filled, sampleIds.length, null)
    filled > 0
  }
}

/** A source that executors read natively, each its own share of the records. */
private[caffe] trait NativeRecords { this: DataSource[_, _] =>
  /** "LMDB", "LEVELDB", or the name of a library that reads a format of its own. */
  def backend: String

  /** The same folder on every host, or a URI of a Hadoop file system; a library may mean something else by it. */
  def folder: String
}

/** The source_class for records in an LMDB. */
class LMDB(conf: Config, layerId: Int, isTrain: Boolean) extends ImageDataSource(conf, layerId, isTrain) with NativeRecords {
  override def backend: String = "LMDB"

  override def folder: String = Nets.storeSource(sourceFilePath)

  override def makeRDD(sc: SparkContext): RDD[(String, String, Int, Int, Int, Boolean, Array[Byte])] =
    LmdbRDD.over(sc, conf, backend, folder)
}

/** The records of a plain Data layer. */
private[caffe] class DataLayerSource(conf: Config, layerId: Int, isTrain: Boolean)
    extends ImageDataSource(conf, layerId, isTrain) with NativeRecords {
  override def backend: String =
    if (layerParameter.hasSourceClass) layerParameter.getSourceClass else layerParameter.getDataParam.getBackend.name

  override def folder: String = Nets.storeSource(sourceFilePath)

  override protected def readLayer(): Unit =
    requireLayer(layerParameter.getDataParam.getSource, layerParameter.getDataParam.getBatchSize)

  override def makeRDD(sc: SparkContext): RDD[(String, String, Int, Int, Int, Boolean, Array[Byte])] =
    LmdbRDD.over(sc, conf, backend, folder)
}
