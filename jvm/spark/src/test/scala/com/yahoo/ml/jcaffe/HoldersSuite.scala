package com.yahoo.ml.jcaffe

import java.awt.image.BufferedImage
import java.io.ByteArrayOutputStream
import javax.imageio.ImageIO

import org.scalatest.funsuite.AnyFunSuite

/** What sources for CaffeOnSpark 0.1 do with pictures and numbers. */
class HoldersSuite extends AnyFunSuite {
  private val (height, width) = (5, 7)

  /** A picture in some colours, half transparent where it has alpha. */
  private def picture(kind: Int): BufferedImage = {
    val made = new BufferedImage(width, height, kind)
    for (y <- 0 until height; x <- 0 until width) made.setRGB(x, y, 0x80000000 | (x * 30) << 16 | (y * 40) << 8 | (x + y))
    made
  }

  private def png(kind: Int): Array[Byte] = {
    val out = new ByteArrayOutputStream
    assert(ImageIO.write(picture(kind), "png", out))
    out.toByteArray
  }

  /** Java's own colours: blue, green, red and alpha of each pixel, as many as wanted. */
  private def pixels(kind: Int, channels: Int): Seq[Byte] =
    for (y <- 0 until height; x <- 0 until width; c <- 0 until channels) yield (picture(kind).getRGB(x, y) >> 8 * c).toByte

  private def decoded(kind: Int, flags: Int): Mat = {
    val mat = new Mat(png(kind))
    assert(mat.isEncoded)
    mat.decode(flags)
    assert((mat.isEncoded, mat.height, mat.width) == ((false, height, width)))
    mat
  }

  test("pictures are decoded as the flags say") {
    import BufferedImage.{TYPE_4BYTE_ABGR, TYPE_3BYTE_BGR}
    for ((kind, flags, channels) <- Seq((TYPE_3BYTE_BGR, Mat.CV_LOAD_IMAGE_COLOR, 3), (TYPE_3BYTE_BGR, Mat.CV_LOAD_IMAGE_UNCHANGED, 3),
        (TYPE_4BYTE_ABGR, Mat.CV_LOAD_IMAGE_UNCHANGED, 4), (TYPE_4BYTE_ABGR, Mat.CV_LOAD_IMAGE_ANYCOLOR, 3))) {
      val mat = decoded(kind, flags)
      assert(mat.channels == channels && mat.data.toSeq == pixels(kind, channels), (kind, flags))
    }
    for (flags <- Seq(Mat.CV_LOAD_IMAGE_GRAYSCALE, Mat.CV_LOAD_IMAGE_ANYDEPTH)) {
      val gray = decoded(TYPE_3BYTE_BGR, flags)
      assert(gray.channels == 1 && gray.data.length == height * width)
      val Seq(b, g, r) = pixels(TYPE_3BYTE_BGR, 3).takeRight(3).map(_ & 0xff)
      assert(math.abs((gray.data.last & 0xff) - (0.114 * b + 0.587 * g + 0.299 * r)) <= 1)
    }
  }

  test("pictures are resized") {
    val mat = new Mat(2, 1, 2, Array[Byte](10, 20, 30, 40))
    mat.resize(2, 1)
    assert((mat.channels, mat.height, mat.width, mat.data.toSeq) == ((2, 2, 1, Seq[Byte](20, 30, 20, 30))))
  }

  test("what is no picture is refused, and the Mat stays as it was") {
    def refused(body: => Any): String = intercept[IllegalArgumentException](body).getMessage
    val mat = new Mat(Array[Byte](1, 2, 3))
    refused(mat.decode(Mat.CV_LOAD_IMAGE_COLOR))
    assert(refused(mat.resize(4, 4)).contains("decode it first"))
    assert(mat.isEncoded && mat.data.length == 3)
    val square = new Mat(1, 2, 2, new Array[Byte](4))
    assert(refused(square.resize(-1, 3)).contains("-1 x 3"))
    refused(new Mat(1, 3, 3, new Array[Byte](4)).resize(2, 2))
    assert(square.height == 2)
    intercept[NullPointerException](new Mat(null))
  }

  test("vectors of pictures") {
    val images = new MatVector(1)
    val first = new Mat(3, 1, 2, new Array[Byte](6))
    assert(images.put(0, first) == null)
    assert((images.channels(0), images.height(0), images.width(0), images.data(0).length) == ((3, 1, 2, 6)))
    assert(images.put(0, new Mat(new Array[Byte](1))) eq first)
    images.deallocate()
  }

  test("blobs of any number of axes") {
    val blob = new FloatBlob
    assert(blob.reshape(Array(2, 3)) && blob.count == 6 && blob.shape.toSeq == Seq(2, 3))
    assert(blob.set_cpu_data(Array(1, 2, 3, 4, 5, 6)))
    assert(blob.reshape(1, 1, 3, 2) && blob.cpu_data.get(5) == 6)
    val copy = new FloatBlob
    assert(copy.copyFrom(blob) && copy.shape.toSeq == Seq(1, 1, 3, 2))
    copy.cpu_data.set(0, 9)
    assert(blob.data.head == 1)
    assert(blob.reshape(Array.empty[Int]) && blob.count == 1)
    intercept[IllegalArgumentException](blob.set_cpu_data(new Array[Float](2)))
    intercept[IllegalArgumentException](blob.reshape(Array(1, -2)))
    intercept[ArithmeticException](blob.reshape(Array(1 << 20, 1 << 20)))
    assert(blob.count == 1)
  }
}
