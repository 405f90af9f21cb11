package com.yahoo.ml.caffe

import java.nio.charset.StandardCharsets.UTF_8
import java.nio.{ByteBuffer, ByteOrder}

/**
 * A row as the engine's data layers take it: a key, and a field for each top. Its bytes are those of one row in a file of
 * rows (engine/data/row_file.h); they travel through Spark as they are.
 */
private[caffe] object RowRecord {
  /** What one top takes from a row. `kind` and the extents are those of RowField in the engine. */
  sealed trait Field {
    def kind: Int
    def channels: Int
    def height: Int
    def width: Int
    def size: Int
    def write(out: ByteBuffer): Unit
  }

  /** Numbers, channels x height x width as the top says. */
  final case class Floats(values: Array[Float]) extends Field {
    override def kind: Int = 0
    override def channels: Int = 0
    override def height: Int = 0
    override def width: Int = 0
    override def size: Int = values.length * java.lang.Float.BYTES
    override def write(out: ByteBuffer): Unit = values.foreach(out.putFloat(_))
  }

  /** height x width x channels bytes. */
  final case class Pixels(channels: Int, height: Int, width: Int, bytes: Array[Byte]) extends Field {
    override def kind: Int = 1
    override def size: Int = bytes.length
    override def write(out: ByteBuffer): Unit = out.put(bytes)
  }

  /** An image file; a height or width that is not 0 is what it must decode to. */
  final case class Encoded(bytes: Array[Byte], height: Int = 0, width: Int = 0) extends Field {
    override def kind: Int = 2
    override def channels: Int = 0
    override def size: Int = bytes.length
    override def write(out: ByteBuffer): Unit = out.put(bytes)
  }

  private val HeaderBytes = 16
  private val KeySizeAt = 8
  private val FieldHeaderBytes = 20

  def encode(id: String, fields: Seq[Field]): Array[Byte] = {
    val key = id.getBytes(UTF_8)
    val value = fields.map(FieldHeaderBytes.toLong + _.size).sum
    val total = HeaderBytes + key.length + value
    if (total > Int.MaxValue - HeaderBytes) throw new IllegalArgumentException(s"row '$id' has $total bytes, more than 2 GB")
    val out = ByteBuffer.allocate(total.toInt).order(ByteOrder.LITTLE_ENDIAN)
    out.putLong(0).putInt(key.length).putInt(value.toInt).put(key)
    for (field <- fields) {
      out.putInt(field.kind).putInt(field.channels).putInt(field.height).putInt(field.width).putInt(field.size)
      field.write(out)
    }
    out.array
  }

  /** The same row, changed in place, at another place of its file. */
  def withOrder(row: Array[Byte], order: Long): Array[Byte] = {
    ByteBuffer.wrap(row).order(ByteOrder.LITTLE_ENDIAN).putLong(order)
    row
  }

  def id(row: Array[Byte]): String = {
    val size = ByteBuffer.wrap(row).order(ByteOrder.LITTLE_ENDIAN).getInt(KeySizeAt)
    new String(row, HeaderBytes, size, UTF_8)
  }

  def fields(row: Array[Byte]): Seq[Field] = {
    val in = ByteBuffer.wrap(row).order(ByteOrder.LITTLE_ENDIAN)
    in.position(HeaderBytes + in.getInt(KeySizeAt))
    Iterator.continually(in).takeWhile(_.hasRemaining).map(field(_)).toList
  }

  private def field(in: ByteBuffer): Field = {
    val Seq(kind, channels, height, width, size) = Seq.fill(FieldHeaderBytes / Integer.BYTES)(in.getInt())
    val bytes = new Array[Byte](size)
    in.get(bytes)
    kind match {
      case 0 =>
        val floats = new Array[Float](size / java.lang.Float.BYTES)
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(floats)
        Floats(floats)
      case 1 => Pixels(channels, height, width, bytes)
      case _ => Encoded(bytes, height, width)
    }
  }

  /** Runs `body`; an error in it names the row. */
  def named[A](id: => String)(body: => A): A =
    try body
    catch { case e: IllegalArgumentException => throw new IllegalArgumentException(s"row '$id': ${e.getMessage}", e) }
}
