package com.yahoo.ml.caffe

import caffe.Caffe.{CoSDataParameter, LayerParameter}
import com.yahoo.ml.caffe.RowRecord.{Encoded, Field, Floats, Pixels}
import com.yahoo.ml.caffe.RowValues.ImageShape
import org.apache.spark.rdd.RDD
import org.apache.spark.sql.functions.monotonically_increasing_id
import org.apache.spark.sql.types.{BooleanType, StringType, StructField, StructType}
import org.apache.spark.sql.{DataFrame, Row}

import scala.jdk.CollectionConverters._

/** Makes the rows of one data layer out of samples. Errors name the sample. */
private[caffe] trait RowReader[-T] extends Serializable {
  def read(sample: T): Array[Byte]
}

private[caffe] object RowReader {
  /** All rows of a frame for a MemoryData or CoSData layer. */
  def rows(frame: DataFrame, layer: LayerParameter, where: String): RDD[Array[Byte]] = {
    val reader = of(layer, frame.schema, where)
    if (reader.namesRows) frame.rdd.map(reader.read(_))
    else {
      val numbered = frame.withColumn("id", monotonically_increasing_id().cast(StringType))
      val again = of(layer, numbered.schema, where)
      numbered.rdd.map(again.read(_))
    }
  }

  /** The reader of rows of `schema`; a column that is missing or of the wrong type shows here. */
  def of(layer: LayerParameter, schema: StructType, where: String): FrameReader =
    if (layer.getType == "CoSData") new TopsReader(layer, schema, where) else new ImagesReader(layer, schema, where)
}

/** Reads rows of a DataFrame. */
private[caffe] abstract class FrameReader(layer: LayerParameter, schema: StructType, where: String) extends RowReader[Row] {
  protected def column(name: String): Option[Int] = {
    val exact = schema.fieldNames.indexOf(name)
    val index = if (exact >= 0) exact else schema.fieldNames.indexWhere(_.equalsIgnoreCase(name))
    if (index >= 0) Some(index) else None
  }

  /** The column that names a row. */
  private val id: Option[Int] = FrameReader.Ids.flatMap(column(_)).headOption

  /** Does something in each row tell it from others? */
  def namesRows: Boolean = id.isDefined

  protected def fail(message: String): Nothing =
    throw new IllegalArgumentException(s"${Nets.describe(layer)}: $where $message; its columns are " +
      schema.fields.map(f => s"${f.name}: ${f.dataType.simpleString}").mkString(", "))

  protected def defaultId(row: Row): String = "?"

  protected def fields(row: Row): Seq[Field]

  final def idOf(row: Row): String = id.filterNot(row.isNullAt(_)).fold(defaultId(row))(row.get(_).toString)

  override def read(row: Row): Array[Byte] = {
    val name = idOf(row)
    RowRecord.named(name)(RowRecord.encode(name, fields(row)))
  }
}

private[caffe] object FrameReader {
  val Ids: Seq[String] = Seq("id", "SampleID", "path")
}

/**
 * For MemoryData layers: columns `label` and `data` (or Spark's `image`, or binaryFile's `content`), and, where there
 * are, `id`, `channels`, `height`, `width` and `encoded`.
 */
private[caffe] final class ImagesReader(layer: LayerParameter, schema: StructType, where: String)
    extends FrameReader(layer, schema, where) {
  private val memory = layer.getMemoryDataParam
  private val data = Seq("data", "image", "content", "features").flatMap(column(_)).headOption.getOrElse(
    fail("has no column data (or image, content, features)"))
  private val dataName = schema(data).name.toLowerCase
  private val label: Option[Int] = column("label")
  private val Seq(channels, height, width, encodedColumn) = Seq("channels", "height", "width", "encoded").map(column(_))
  // A file, as Spark's binaryFile reads it, is not pixels.
  private val encodedDefault = memory.getImageEncoded || dataName == "content"
  private val wantsLabel = layer.getTopCount > 1

  if (!RowValues.isImage(schema(data).dataType)) {
    fail(s"has a column ${schema(data).name} of type ${schema(data).dataType.simpleString}, which holds no image")
  }
  if (wantsLabel && label.isEmpty) {
    fail(s"has no column label; add one (dataframe_column_select), or leave out the layer's second top")
  }
  for (index <- label if wantsLabel && !RowValues.isNumbers(schema(index).dataType)) {
    fail(s"has a label of type ${schema(index).dataType.simpleString}; numbers are needed")
  }

  for (index <- encodedColumn if schema(index).dataType != BooleanType) {
    fail(s"has a column encoded of type ${schema(index).dataType.simpleString}; true or false is needed")
  }

  // Spark's images know their files.
  private val hasOrigin = schema(data).dataType match {
    case struct: StructType => struct.fieldNames.contains("origin")
    case _ => false
  }

  override def namesRows: Boolean = super.namesRows || hasOrigin

  override protected def defaultId(row: Row): String =
    if (hasOrigin && !row.isNullAt(data)) row.getStruct(data).getAs[String]("origin") else super.defaultId(row)

  override protected def fields(row: Row): Seq[Field] = {
    def int(index: Option[Int]): Int = index.filterNot(row.isNullAt(_)).fold(0)(i => RowValues.one(row.get(i)).toInt)
    val encoded = encodedColumn.filterNot(row.isNullAt(_)).fold(encodedDefault)(row.getBoolean(_))
    val stated = ImageShape(int(channels), int(height), int(width))
    val image = RowValues.image(row.get(data), encoded, ImageRows.complete(stated, encoded, memory))
    if (!wantsLabel) Seq(image)
    else if (row.isNullAt(label.get)) throw new IllegalArgumentException("its label is null")
    else Seq(image, ImageRows.labels(RowValues.numbers(row.get(label.get)), layer))
  }
}

/** For CoSData layers: a column with the name of each top. */
private[caffe] final class TopsReader(layer: LayerParameter, schema: StructType, where: String)
    extends FrameReader(layer, schema, where) {
  private val tops = layer.getCosDataParam.getTopList.asScala.toArray.map(top => new Top(top))
  private val columns: Array[Int] = tops.map(top => column(top.name_).getOrElse(fail(s"has no column ${top.name_}")))

  for ((top, index) <- tops.zip(columns)) {
    val kind = schema(index).dataType
    val fits = if (top.isImage) RowValues.isImage(kind) else RowValues.isNumbers(kind)
    if (!fits) fail(s"has a column ${top.name_} of type ${kind.simpleString}, but the top is ${top.dataType_}")
  }

  override protected def fields(row: Row): Seq[Field] = tops.toSeq.zip(columns).map { case (top, index) =>
    try top.field(row.get(index))
    catch {
      case e: IllegalArgumentException => throw new IllegalArgumentException(s"column ${told(schema(index))}: ${e.getMessage}", e)
    }
  }

  /** What its user calls a column. */
  private def told(column: StructField): String =
    if (column.metadata.contains(TopsReader.Column)) column.metadata.getString(TopsReader.Column) else column.name
}

private[caffe] object TopsReader {
  /** In a column's metadata: the name that it had before it got that of its top. */
  val Column = "caffe.column"
}

/** Samples of an ImageDataSource. */
private[caffe] final class ImageRows(layer: LayerParameter)
    extends RowReader[(String, String, Int, Int, Int, Boolean, Array[Byte])] {
  private val memory = layer.getMemoryDataParam

  override def read(sample: (String, String, Int, Int, Int, Boolean, Array[Byte])): Array[Byte] = {
    val (id, label, channels, height, width, encoded, bytes) = sample
    RowRecord.named(id) {
      if (bytes == null) throw new IllegalArgumentException("it has no data")
      val image = RowValues.image(bytes, encoded, ImageRows.complete(ImageShape(channels, height, width), encoded, memory))
      val fields = if (layer.getTopCount > 1) Seq(image, ImageRows.labels(RowValues.numbers(label), layer)) else Seq(image)
      RowRecord.encode(id, fields)
    }
  }
}

private[caffe] object ImageRows {
  /** Pixels without extents have those of their layer. */
  def complete(stated: ImageShape, encoded: Boolean, memory: caffe.Caffe.MemoryDataParameter): ImageShape =
    if (encoded) stated
    else {
      def or(value: Int, otherwise: Int): Int = if (value > 0) value else otherwise
      ImageShape(or(stated.channels, memory.getChannels), or(stated.height, memory.getHeight), or(stated.width, memory.getWidth))
    }

  /** The sample of an ImageDataSource that a row stands for. */
  def sample(row: Array[Byte]): (String, String, Int, Int, Int, Boolean, Array[Byte]) = {
    val id = RowRecord.id(row)
    val Seq(image, Floats(label)) = RowRecord.fields(row)
    val text = label.map(n => if (n == n.toInt) n.toInt.toString else n.toString).mkString(",")
    image match {
      case Encoded(bytes, height, width) => (id, text, 0, height, width, true, bytes)
      case Pixels(channels, height, width, bytes) => (id, text, channels, height, width, false, bytes)
      case Floats(_) => throw new IllegalArgumentException(s"row '$id' holds numbers, not the bytes of an image")
    }
  }

  def labels(values: Array[Float], layer: LayerParameter): Floats = {
    val expected = math.max(1, layer.getMemoryDataParam.getLabelSize)
    if (values.length != expected) {
      throw new IllegalArgumentException(s"its label has ${values.length} numbers, but the layer's label_size is $expected")
    }
    Floats(values)
  }
}

/** One top of a CoSData layer. */
class Top(topParam: CoSDataParameter.TopBlob) extends Serializable {
  val dataType_ : CoSDataParameter.DataType = topParam.getType
  val name_ : String = topParam.getName
  val channels_ : Int = topParam.getChannels
  val height_ : Int = topParam.getHeight
  val width_ : Int = topParam.getWidth
  val outChannels_ : Int = Top.or(topParam.getOutChannels, channels_)
  val outHeight_ : Int = Top.or(topParam.getOutHeight, height_)
  val outWidth_ : Int = Top.or(topParam.getOutWidth, width_)
  val sampleNumAxes_ : Int = topParam.getSampleNumAxes
  val shape_ : Array[Int] = Array(channels_, height_, width_)
  val outShape_ : Array[Int] = Array(outChannels_, outHeight_, outWidth_)
  val sampleShape_ : Array[Int] = shape_.take(sampleNumAxes_)
  val outSampleShape_ : Array[Int] = outShape_.take(sampleNumAxes_)
  val size_ : Int = sampleShape_.product
  val outSize_ : Int = outSampleShape_.product
  val transformParam_ : caffe.Caffe.TransformationParameter =
    if (topParam.hasTransformParam) topParam.getTransformParam else null
  val transpose_ : Boolean = topParam.getTranspose
  if (transpose_ && sampleNumAxes_ != 1) {
    throw new IllegalArgumentException(s"top $name_ is to be transposed; its sample_num_axes must then be 1, not $sampleNumAxes_")
  }

  private[caffe] def isImage: Boolean = Top.images(dataType_)

  private[caffe] def field(value: Any): Field =
    if (!isImage) Floats(RowValues.numbers(value))
    else RowValues.image(value, encoded = dataType_ != CoSDataParameter.DataType.RAW_IMAGE,
      if (dataType_ == CoSDataParameter.DataType.RAW_IMAGE) ImageShape(channels_, height_, width_) else ImageShape(0, 0, 0))
}

private object Top {
  val images: Set[CoSDataParameter.DataType] = Set(CoSDataParameter.DataType.ENCODED_IMAGE,
    CoSDataParameter.DataType.RAW_IMAGE, CoSDataParameter.DataType.ENCODED_IMAGE_WITH_DIM)

  def or(value: Int, otherwise: Int): Int = if (value > 0) value else otherwise
}
