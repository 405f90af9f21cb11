package com.yahoo.ml.caffe

import com.yahoo.ml.caffe.RowRecord.{Encoded, Floats, Pixels}
import com.yahoo.ml.jcaffe.{FloatBlob, Mat, MatVector}

/** The batches of a CoSData layer as user-written code sees them: a MatVector or a FloatBlob for each top. */
private[caffe] object TopBatches {
  def holder(top: Top, batch: Int): Any =
    if (top.isImage) new MatVector(batch) else shaped(batch, top.sampleShape_, top.transpose_)

  /** Room for the top as the network gets it. */
  def blob(top: Top, batch: Int): FloatBlob = shaped(batch, top.outSampleShape_, top.transpose_)

  private def shaped(batch: Int, sample: Array[Int], transpose: Boolean): FloatBlob = {
    val blob = new FloatBlob
    blob.reshape(if (transpose) Array(sample(0), batch) else batch +: sample.map(math.max(1, _)))
    blob
  }

  /** Puts one sample's value into row `row` of a holder. */
  def put(top: Top, batch: Int, value: Any, holder: Any, row: Int): Unit = top.field(value) match {
    case Encoded(bytes, _, _) => holder.asInstanceOf[MatVector].put(row, new Mat(bytes))
    case Pixels(channels, height, width, bytes) =>
      holder.asInstanceOf[MatVector].put(row, new Mat(channels, height, width, bytes))
    case Floats(values) =>
      val blob = holder.asInstanceOf[FloatBlob]
      val size = blob.count() / batch
      if (values.length != size) {
        throw new IllegalArgumentException(s"column ${top.name_} has ${values.length} numbers, expected $size")
      }
      if (top.transpose_) fill(blob, row, batch, values) else fill(blob, row * size, 1, values)
  }

  /** Puts values at every `stride`-th place of a blob, from place `offset` on. */
  def fill(blob: FloatBlob, offset: Int, stride: Int, values: Array[Float]): Unit = {
    val end = offset + (values.length - 1L) * stride + 1
    if (offset < 0 || stride < 1 || end > blob.count()) {
      throw new IllegalArgumentException(s"${values.length} numbers from place $offset on, $stride apart, do not fit into a " +
        s"blob of ${blob.count()}")
    }
    val out = blob.data()
    if (stride == 1) System.arraycopy(values, 0, out, offset, values.length)
    else values.indices.foreach(i => out(offset + i * stride) = values(i))
  }
}
