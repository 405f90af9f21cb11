package com.yahoo.ml.caffe

import java.nio.file.Files
import java.nio.{ByteBuffer, ByteOrder, FloatBuffer}

import caffe.Caffe.TransformationParameter
import com.yahoo.ml.caffe.engine.ImageTransformer
import org.apache.spark.ml.linalg.{SQLDataTypes, Vector}
import org.apache.spark.sql.Row
import org.apache.spark.sql.types._

import scala.jdk.CollectionConverters._

/** A row that the network cannot answer; the message says what is wrong with it. */
private[caffe] final class InvalidRow(message: String) extends IllegalArgumentException(message)

/** An input as a task fills it: shapes are decided. The bytes are a TransformationParameter. */
private[caffe] final case class FilledInput(blob: String, column: Int, name: String, dataType: DataType, shape: Seq[Int],
    record: Seq[Int], transform: Array[Byte], resize: Boolean) {
  def width: Int = shape.product
}

private[caffe] object InputReader {
  /** How a column's values are read; None for a type that no network takes. */
  def kind(dataType: DataType): Option[String] = dataType match {
    case BinaryType => Some("binary")
    case SQLDataTypes.VectorType => Some("vector")
    case ArrayType(_: NumericType, _) => Some("array")
    case struct: StructType if imageFields(struct).isDefined => Some("image")
    case _: NumericType | BooleanType => Some("number")
    case _ => None
  }

  val Readable = "arrays of numbers, ML vectors, numbers, binary (pictures, or bytes height x width x channels) and Spark's " +
    "image struct"

  /** Are these bytes a picture file, not pixels? Only bytes of just the right number, `pixels`, can be pixels. */
  def isFile(bytes: Array[Byte], pixels: Int): Boolean =
    bytes.length != pixels || signatures.exists(bytes.startsWith(_))

  private val signatures = Seq(Seq(0xFF, 0xD8, 0xFF), Seq(0x89, 'P'.toInt, 'N'.toInt, 'G'.toInt)).map(_.map(_.toByte))

  /** Fields of Spark's image schema: height, width, channels, bytes. */
  def imageFields(struct: StructType): Option[Seq[Int]] = {
    val fields = Seq("height", "width", "nChannels", "data")
    if (fields.forall(struct.fieldNames.contains)) Some(fields.map(struct.fieldIndex)) else None
  }
}

/**
 * Copies the values of one column into rows of an input blob. Not thread-safe. Pictures get the colours that the blob has
 * room for. `mean` is the content of the mean file, for a transformation that names one.
 */
private[caffe] final class InputReader(val input: FilledInput, rows: Int, mean: Array[Byte]) extends AutoCloseable {
  private val bytes = ByteBuffer.allocateDirect(Math.multiplyExact(Math.multiplyExact(rows, input.width), 4))
    .order(ByteOrder.nativeOrder)
  private val floats: FloatBuffer = bytes.asFloatBuffer()
  private val isPicture = input.shape.length == 3
  private val expected = input.shape.toArray
  private val record = input.record.toArray
  private val transformer: ImageTransformer = if (isPicture) newTransformer() else null
  private val plain = !isPicture || input.transform.isEmpty
  private val kind = InputReader.kind(input.dataType).getOrElse(
    throw new IllegalArgumentException(s"column ${input.name} has type ${input.dataType.simpleString}"))

  private def newTransformer(): ImageTransformer = {
    val size = if (input.resize) Seq("height" -> record(1).toString, "width" -> record(2).toString) else Nil
    val channels = if (Set(1, 3)(record(0))) Seq("channels" -> record(0).toString) else Nil
    val options = (size ++ channels).toMap.asJava
    val param = TransformationParameter.parseFrom(input.transform)
    if (!param.hasMeanFile) ImageTransformer.create(input.transform, options)
    else Storage.withTemporaryFolder { folder =>
      val file = Files.write(folder.resolve("mean.binaryproto"), mean)
      ImageTransformer.create(param.toBuilder.setMeanFile(file.toString).build().toByteArray, options)
    }
  }

  def values: ByteBuffer = bytes

  /** Reads `row` into row number `slot` of the blob. Throws InvalidRow. */
  def read(row: Row, slot: Int): Unit =
    if (row.isNullAt(input.column)) invalid("is null")
    else {
      val value = row.get(input.column)
      try kind match {
        case "array" => numbers(arrayOf(value), slot)
        case "vector" => numbers(value.asInstanceOf[Vector].toArray.map(_.toFloat), slot)
        case "number" => numbers(Array(numberOf(value)), slot)
        case "binary" => binary(value.asInstanceOf[Array[Byte]], slot)
        case _ => image(value.asInstanceOf[Row], slot)
      } catch {
        case e: java.io.IOException => invalid(e.getMessage)
      }
    }

  private def invalid(what: String): Nothing = throw new InvalidRow(s"column ${input.name} $what")

  private def offset(slot: Int): Long = slot.toLong * input.width

  private def arrayOf(value: Any): Array[Float] = {
    val items = value.asInstanceOf[scala.collection.Seq[Any]]
    val out = new Array[Float](items.length)
    var i = 0
    items.foreach { item =>
      if (item == null) invalid(s"has a null at index $i")
      out(i) = numberOf(item)
      i += 1
    }
    out
  }

  private def numberOf(value: Any): Float = value match {
    case number: java.lang.Number => number.floatValue
    case yes: Boolean => if (yes) 1f else 0f
  }

  private def numbers(values: Array[Float], slot: Int): Unit =
    if (plain) {
      if (values.length != input.width) {
        invalid(s"has ${values.length} values, but the network takes ${input.width} for a row of blob ${input.blob}")
      }
      floats.put(slot * input.width, values)
    } else transformer.values(values, record, expected, bytes, offset(slot))

  private def binary(file: Array[Byte], slot: Int): Unit = {
    if (!isPicture) invalid(s"is binary, but blob ${input.blob} is no picture: its rows have ${input.shape.length} axes")
    if (!InputReader.isFile(file, record.product)) {
      transformer.pixels(file, record, expected, bytes, offset(slot))
    } else transformer.encoded(file, expected, bytes, offset(slot))
  }

  private def image(struct: Row, slot: Int): Unit = {
    if (!isPicture) invalid(s"is a picture, but rows of blob ${input.blob} have ${input.shape.length} axes")
    val fields @ Seq(height, width, channels, data) = InputReader.imageFields(input.dataType.asInstanceOf[StructType]).get
    if (fields.exists(struct.isNullAt) || struct.getInt(height) < 1) invalid("is a picture that Spark could not read")
    val extents = Array(struct.getInt(channels), struct.getInt(height), struct.getInt(width))
    transformer.pixels(struct.getAs[Array[Byte]](data), extents, expected, bytes, offset(slot))
  }

  override def close(): Unit = if (transformer != null) transformer.close()
}
