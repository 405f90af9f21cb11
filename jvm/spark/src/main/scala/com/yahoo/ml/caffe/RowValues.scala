package com.yahoo.ml.caffe

import java.util.Base64

import com.yahoo.ml.caffe.RowRecord.{Encoded, Field, Floats, Pixels}
import org.apache.spark.ml.linalg.{SQLDataTypes, Vector}
import org.apache.spark.mllib.linalg.{Vector => OldVector}
import org.apache.spark.sql.Row
import org.apache.spark.sql.types.{ArrayType, BinaryType, BooleanType, DataType, NumericType, StringType, StructType}

import scala.util.Try

/** Values of a DataFrame's columns as fields of rows. */
private[caffe] object RowValues {
  /** What an image column must be told. Extents of 0 are unknown. */
  final case class ImageShape(channels: Int, height: Int, width: Int)

  private val Uint8Modes = Set(0, 8, 16, 24) // OpenCV's CV_8U with 1 to 4 channels

  def isNumbers(kind: DataType): Boolean = kind match {
    case _: NumericType | BooleanType | StringType => true
    case ArrayType(element, _) => isNumbers(element)
    case other => isVector(other)
  }

  private def isVector(kind: DataType): Boolean =
    kind == SQLDataTypes.VectorType || kind.getClass.getName == "org.apache.spark.mllib.linalg.VectorUDT"

  def isImage(kind: DataType): Boolean = kind match {
    case BinaryType | StringType => true
    case ArrayType(element, _) => isNumbers(element)
    case struct: StructType =>
      val names = struct.fieldNames.toSet
      names("height") && names("width") && (names("data") || names("image"))
    case other => isVector(other)
  }

  /** One number, a text of numbers with commas or blanks between, an array or a vector. */
  def numbers(value: Any): Array[Float] = value match {
    case null => throw new IllegalArgumentException("a value is null")
    case number: java.lang.Number => Array(number.floatValue)
    case flag: Boolean => Array(if (flag) 1f else 0f)
    case text: String => text.split("[,\\s]+").filter(_.nonEmpty).map(number(_, text))
    case vector: Vector => vector.toArray.map(_.toFloat)
    case vector: OldVector => vector.toArray.map(_.toFloat)
    case values: scala.collection.Seq[_] => values.iterator.flatMap(numbers(_)).toArray
    case values: Array[_] => values.iterator.flatMap(numbers(_)).toArray
    case other => throw new IllegalArgumentException(s"a value of type ${other.getClass.getName} is no number")
  }

  /** Just one number. */
  def one(value: Any): Float = numbers(value) match {
    case Array(number) => number
    case several => throw new IllegalArgumentException(s"${several.length} numbers stand where one is needed")
  }

  private def number(word: String, text: String): Float =
    Try(word.toFloat).getOrElse(throw new IllegalArgumentException(s"'$text' is no number"))

  /** Bytes (an image file, or pixels of `shape`), base64 text of them, a struct of an image, or numbers. */
  def image(value: Any, encoded: Boolean, shape: ImageShape): Field = value match {
    case null => throw new IllegalArgumentException("the image is null")
    case bytes: Array[Byte] if encoded => Encoded(bytes, shape.height, shape.width)
    case bytes: Array[Byte] => Pixels(shape.channels, shape.height, shape.width, bytes)
    case text: String => image(base64(text), encoded, shape)
    case row: Row => structure(row)
    case other => Floats(numbers(other))
  }

  private def base64(text: String): Array[Byte] =
    try Base64.getDecoder.decode(text)
    catch {
      case _: IllegalArgumentException =>
        throw new IllegalArgumentException("its data is a text, but not base64, which is how Spark writes bytes as text")
    }

  /** Spark's image schema (pixels), or struct<height, width, image: an image file>. */
  private def structure(row: Row): Field = {
    val height = one(row.getAs[Any]("height")).toInt
    val width = one(row.getAs[Any]("width")).toInt
    if (row.schema.fieldNames.contains("image")) Encoded(bytes(row.getAs[Any]("image")), height, width)
    else {
      val mode = row.getAs[Int]("mode")
      if (!Uint8Modes(mode)) {
        throw new IllegalArgumentException(s"its image has OpenCV type $mode; only bytes (0, 8, 16, 24) are read")
      }
      Pixels(row.getAs[Int]("nChannels"), height, width, bytes(row.getAs[Any]("data")))
    }
  }

  private def bytes(value: Any): Array[Byte] = value match {
    case bytes: Array[Byte] => bytes
    case text: String => base64(text)
    case values: scala.collection.Seq[_] => values.iterator.map(_.asInstanceOf[Number].byteValue).toArray
    case _ => throw new IllegalArgumentException("its image holds no bytes")
  }
}
