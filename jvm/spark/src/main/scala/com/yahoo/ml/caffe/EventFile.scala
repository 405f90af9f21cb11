package com.yahoo.ml.caffe

import java.io.{ByteArrayOutputStream, DataOutputStream, OutputStream}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.{ByteBuffer, ByteOrder}
import java.util.zip.CRC32C

/**
 * Scalars in the form that TensorBoard reads: records of TensorFlow, each an Event message. A record is its length, a masked
 * CRC-32C of that, the message, and a masked CRC-32C of it, all little-endian. `clock` gives seconds since 1970.
 */
private[caffe] final class EventFile(out: OutputStream, clock: () => Double) extends AutoCloseable {
  import EventFile._

  // Event: wall_time 1 (double), step 2 (int64), file_version 3 (string), summary 5 (message).
  write(message { event =>
    double(event, 1, clock())
    bytes(event, 3, "brain.Event:2".getBytes(UTF_8))
  })

  def scalars(step: Long, values: Seq[(String, Double)]): Unit = {
    val summary = message(s => values.foreach { case (tag, value) =>
      bytes(s, 1, message { entry => // Summary.Value: tag 1 (string), simple_value 2 (float)
        bytes(entry, 1, tag.getBytes(UTF_8))
        float(entry, 2, value.toFloat)
      })
    })
    write(message { event =>
      double(event, 1, clock())
      varint(event, 2L << 3)
      varint(event, step)
      bytes(event, 5, summary)
    })
    out.flush()
  }

  private def write(data: Array[Byte]): Unit = {
    val length = little(8).putLong(data.length.toLong).array
    out.write(length)
    out.write(little(4).putInt(maskedCrc(length)).array)
    out.write(data)
    out.write(little(4).putInt(maskedCrc(data)).array)
  }

  override def close(): Unit = out.close()
}

private[caffe] object EventFile {
  private val Mask = 0xa282ead8
  private val (eightBytes, sized, fourBytes) = (1, 2, 5) // protobuf's wire types

  private def little(size: Int): ByteBuffer = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN)

  private def maskedCrc(data: Array[Byte]): Int = {
    val crc = new CRC32C
    crc.update(data)
    Integer.rotateRight(crc.getValue.toInt, 15) + Mask
  }

  private def message(fill: DataOutputStream => Unit): Array[Byte] = {
    val bytes = new ByteArrayOutputStream
    fill(new DataOutputStream(bytes))
    bytes.toByteArray
  }

  private def varint(out: DataOutputStream, value: Long): Unit = {
    var left = value
    while ((left & ~0x7FL) != 0) {
      out.writeByte((left & 0x7F | 0x80).toInt)
      left >>>= 7
    }
    out.writeByte(left.toInt)
  }

  private def key(out: DataOutputStream, field: Int, wire: Int): Unit = varint(out, (field << 3 | wire).toLong)

  private def double(out: DataOutputStream, field: Int, value: Double): Unit = {
    key(out, field, eightBytes)
    out.write(little(8).putDouble(value).array)
  }

  private def float(out: DataOutputStream, field: Int, value: Float): Unit = {
    key(out, field, fourBytes)
    out.write(little(4).putFloat(value).array)
  }

  private def bytes(out: DataOutputStream, field: Int, value: Array[Byte]): Unit = {
    key(out, field, sized)
    varint(out, value.length.toLong)
    out.write(value)
  }
}
