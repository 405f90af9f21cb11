package com.yahoo.ml.caffe

import java.io.{ByteArrayOutputStream, ObjectOutputStream}
import java.nio.ByteBuffer

import org.scalatest.funsuite.AnyFunSuite

class SerializedKeySuite extends AnyFunSuite {
  private def serialized(value: Any): Array[Byte] = {
    val bytes = new ByteArrayOutputStream
    val out = new ObjectOutputStream(bytes)
    out.writeObject(value.asInstanceOf[AnyRef])
    out.close()
    bytes.toByteArray
  }

  private def refused(bytes: Array[Byte]): String =
    intercept[IllegalArgumentException](SerializedKey.parse(bytes)).getMessage

  private val six = ("00000007_cat.jpg", "3", 3, 227, 227, true)

  test("tuples of this Scala version") {
    assert(SerializedKey.parse(serialized(("cat.jpg", "1"))) == (("cat.jpg", "1", 0, 0, 0, true)))
    assert(SerializedKey.parse(serialized(six)) == six)
    val same = "x" // the second is a reference to the first
    assert(SerializedKey.parse(serialized((same, same, 1, 1, 1, false))) == ((same, same, 1, 1, 1, false)))
    assert(SerializedKey.parse(serialized(("bilder/größe.jpg", ""))) == (("bilder/größe.jpg", "", 0, 0, 0, true)))
  }

  test("tuples of every other Scala version: only their serialVersionUID differs") {
    for ((value, name, uids) <- Seq[(Product with Serializable, String, Seq[Long])](
        (("cat.jpg", "1"), "scala.Tuple2", Seq(-4864544146559264103L, 3356420310891166197L, 142951686315914362L)),
        (six, "scala.Tuple6", Seq(-3022093026546681181L, 4027413073539505834L, -210811755729329306L, -8509888996511846352L)))) {
      val bytes = serialized(value)
      val at = bytes.indexOfSlice(name.getBytes) + name.length
      for (uid <- uids) {
        ByteBuffer.wrap(bytes).putLong(at, uid)
        assert(SerializedKey.parse(bytes).productIterator.take(2).toSeq == value.productIterator.take(2).toSeq)
      }
    }
  }

  test("the pairs of the oldest files") {
    // What ObjectOutputStream writes for a class Pair with two fields of type Object.
    val written = serialized(("first-id", "9"))
    val renamed = replace(replace(replace(written, "scala.Tuple2", "com.yahoo.ml.dl.caffe.Pair"), "_1", "first"), "_2", "second")
    assert(SerializedKey.parse(renamed) == (("first-id", "9", 0, 0, 0, true)))
  }

  /** Another text in the place of one with its length before it. */
  private def replace(bytes: Array[Byte], from: String, to: String): Array[Byte] = {
    def utf(text: String): Array[Byte] = Array((text.length >> 8).toByte, text.length.toByte) ++ text.getBytes
    val at = bytes.indexOfSlice(utf(from))
    assert(at >= 0, from)
    bytes.take(at) ++ utf(to) ++ bytes.drop(at + utf(from).length)
  }

  test("no other class is known, and none is loaded") {
    val message = refused(serialized(new java.util.Date))
    assert(message.contains("an object of class java.util.Date"), message)
    assert(refused(serialized((new java.util.ArrayList[String], "1"))).contains("java.util.ArrayList"))
    assert(refused(serialized("text")).contains("text"))
    assert(refused(serialized((Int.box(1), "1"))).contains("where a text is expected"))
  }

  test("damaged keys are errors, whatever the damage") {
    val good = serialized(six)
    for (size <- good.indices) assert(refused(good.take(size)).contains("is none that CaffeOnSpark writes"))
    for (at <- good.indices; value <- Seq(0, 0x70, 0x7f, 0xff)) {
      val bad = good.clone()
      bad(at) = value.toByte
      try SerializedKey.parse(bad)
      catch { case _: IllegalArgumentException => () }
    }
  }
}
