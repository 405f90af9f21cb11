package com.yahoo.ml.caffe

import caffe.Caffe.LayerParameter
import com.yahoo.ml.jcaffe.{FloatBlob, Mat, MatVector}
import org.apache.spark.SparkContext
import org.apache.spark.rdd.RDD
import org.apache.spark.sql.{AnalysisException, DataFrame, SparkSession}
import org.apache.spark.storage.StorageLevel

import scala.jdk.CollectionConverters._

/**
 * The source_class for images in a DataFrame: columns label and data, and where there are id, channels, height, width and
 * encoded; or those of Spark's formats `image` and `binaryFile`. dataframe_column_select makes others fit.
 */
class ImageDataFrame(conf: Config, layerId: Int, isTrain: Boolean) extends ImageDataSource(conf, layerId, isTrain) {
  private def frame(sc: SparkContext): DataFrame = {
    val memory = layerParameter.getMemoryDataParam
    val loaded = Frames.load(sc, layerParameter, sourceFilePath, memory.getDataframeFormat)
    val selected =
      if (memory.getDataframeColumnSelectCount == 0) loaded
      else Frames.explained(layerParameter) {
        loaded.selectExpr(memory.getDataframeColumnSelectList.asScala.toSeq: _*)
      }
    if (conf.isRddPersistent) selected.persist(StorageLevel.DISK_ONLY) else selected
  }

  /** Straight from the frame, unless a subclass makes samples or batches in a way of its own. */
  override private[caffe] def rows(sc: SparkContext): RDD[Array[Byte]] = {
    val ours = authorOf("makeRDD", classOf[SparkContext]) == classOf[ImageDataFrame] && !ownBatches
    if (ours) RowReader.rows(frame(sc), layerParameter, s"the DataFrame $sourceFilePath") else super.rows(sc)
  }

  /** Only frames whose data are bytes can be told as such tuples; training and features need them not. */
  override def makeRDD(sc: SparkContext): RDD[(String, String, Int, Int, Int, Boolean, Array[Byte])] = {
    val layer = layerParameter.toBuilder.clearTop().addTop("data").addTop("label").build()
    RowReader.rows(frame(sc), layer, s"the DataFrame $sourceFilePath").map(ImageRows.sample(_))
  }
}

/** The source_class for CoSData layers: a DataFrame with a column for each top, and where there is one, id. */
class DataFrameSource(conf: Config, layerId: Int, isTrain: Boolean)
    extends DataSource[(String, Array[Any]), Array[Any]](conf, layerId, isTrain, (null, null)) {
  private var tops: Array[Top] = Array.empty

  override def init(): Boolean = super.init() && {
    val data = layerParameter.getCosDataParam
    val layer = Nets.describe(layerParameter)
    if (layerParameter.getType != "CoSData") throw new IllegalArgumentException(s"$layer: DataFrameSource feeds CoSData layers")
    if (data.getSource.isEmpty) throw new IllegalArgumentException(s"$layer has no source")
    if (data.getBatchSize < 1) throw new IllegalArgumentException(s"$layer has no batch_size")
    sourceFilePath = data.getSource
    setBatchSize(data.getBatchSize)
    tops = data.getTopList.asScala.map(top => new Top(top)).toArray
    true
  }

  private def frame(sc: SparkContext): DataFrame = {
    val loaded = Frames.load(sc, layerParameter, sourceFilePath, layerParameter.getCosDataParam.getDataframeFormat)
    if (conf.isRddPersistent) loaded.persist(StorageLevel.DISK_ONLY) else loaded
  }

  /** Straight from the frame, unless a subclass makes samples or batches in a way of its own. */
  override private[caffe] def rows(sc: SparkContext): RDD[Array[Byte]] = {
    val ours = Seq(authorOf("makeRDD", classOf[SparkContext]),
      authorOf("nextBatch", classOf[Array[String]], classOf[Array[Any]])).forall(_ == classOf[DataFrameSource])
    if (ours) RowReader.rows(frame(sc), layerParameter, s"the DataFrame $sourceFilePath") else super.rows(sc)
  }

  /** (id, the value of each top's column) */
  override def makeRDD(sc: SparkContext): RDD[(String, Array[Any])] = {
    val loaded = frame(sc)
    val where = s"the DataFrame $sourceFilePath"
    val reader = RowReader.of(layerParameter, loaded.schema, where)
    val names = tops.map(_.name_)
    loaded.rdd.map(row => (reader.idOf(row), names.map(name => row.getAs[Any](name))))
  }

  /** For subclasses: puts numbers into a blob at every `stride`-th place from `offset` on. */
  def setFloatBlob(offset: Int, stride: Int, data: Array[Float], blob: FloatBlob): Unit =
    TopBatches.fill(blob, offset, stride, data)

  /**
   * For subclasses: puts the picture of a top into place `offset`. A file is decoded to the top's channels, and must then be
   * rawHeight x rawWidth; pixels are of that size. Where these are not positive, any file fits, and pixels have the top's size.
   */
  def setMatVector(offset: Int, topidx: Int, data: Array[Byte], rawHeight: Int, rawWidth: Int, mats: MatVector,
      encoded: Boolean): Unit = {
    val top = tops(topidx)
    val stated = rawHeight > 0 && rawWidth > 0
    val mat =
      if (encoded) decoded(data, top.channels_)
      else new Mat(top.channels_, if (stated) rawHeight else top.height_, if (stated) rawWidth else top.width_, data)
    if (stated && (mat.height() != rawHeight || mat.width() != rawWidth)) {
      throw new IllegalArgumentException(s"the image for top ${top.name_} is ${mat.height()} x ${mat.width()}, but " +
        s"$rawHeight x $rawWidth was stated")
    }
    if (conf.resize && (mat.height() != top.height_ || mat.width() != top.width_)) mat.resize(top.height_, top.width_)
    mats.put(offset, mat)
  }

  private def decoded(file: Array[Byte], channels: Int): Mat = {
    val mat = new Mat(file)
    mat.decode(channels match {
      case 1 => Mat.CV_LOAD_IMAGE_GRAYSCALE
      case 3 => Mat.CV_LOAD_IMAGE_COLOR
      case _ => Mat.CV_LOAD_IMAGE_UNCHANGED
    })
    mat
  }

  override def useCoSDataLayer(): Boolean = true

  override def getNumTops(): Int = tops.length

  override def getTopDataType(index: Int): caffe.Caffe.CoSDataParameter.DataType = tops(index).dataType_

  override def getTopTransformParam(index: Int): caffe.Caffe.TransformationParameter = tops(index).transformParam_

  override def dummyDataHolder(): Array[Any] = tops.map(TopBatches.holder(_, batchSize()))

  override def dummyDataBlobs(): Array[FloatBlob] = tops.map(TopBatches.blob(_, batchSize()))

  override def nextBatch(sampleIds: Array[String], data: Array[Any]): Boolean = {
    var filled = 0
    var open = true
    while (open && filled < batchSize()) {
      val (id, values) = sourceQueue.take()
      if (values == null) open = false
      else {
        sampleIds(filled) = id
        for (i <- tops.indices) TopBatches.put(tops(i), batchSize(), values(i), data(i), filled)
        filled += 1
      }
    }
    java.util.Arrays.fill(sampleIds.asInstanceOf[Array[AnyRef]], filled, sampleIds.length, null)
    filled > 0
  }
}

/** Reading DataFrames that a layer names. */
private[caffe] object Frames {
  def load(sc: SparkContext, layer: LayerParameter, source: String, format: String): DataFrame = {
    val path = new Storage(sc.hadoopConfiguration).existing(source, Nets.describe(layer))
    val session = SparkSession.builder().config(sc.getConf).getOrCreate()
    explained(layer)(session.read.format(format).load(path.toString))
  }

  def explained(layer: LayerParameter)(body: => DataFrame): DataFrame =
    try body
    catch {
      case e @ (_: AnalysisException | _: ClassNotFoundException) =>
        throw new IllegalArgumentException(s"${Nets.describe(layer)}: ${e.getMessage}", e)
    }
}
