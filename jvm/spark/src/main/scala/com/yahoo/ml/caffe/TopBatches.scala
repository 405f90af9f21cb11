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
    val dims = if (transpose) Array(sample(0), batch) else batch +: sample.map(math.max(1, _))
    val four = dims.padTo(4, 1)
    blob.reshape(four(0), four(1), four(2), four(3))
    blob
  }

  /** Puts one sample's value into row `row` of a holder. */
  def put(top: Top, batch: Int, value: Any, holder: Any, row: Int): Unit = top.field(value) match {
    case Encoded(bytes, _, _) => holder.asInstanceOf[MatVector].put(row, new Mat(bytes))
    case Pixels(channels, height, width, bytes) =>
      holder.asInstanceOf[MatVector].put(row, new Mat(channels, height, width, bytes))
    case Floats(values) =>
      val out = holder.asInstanceOf[FloatBlob].data()
      val size = out.length / batch
      if (values.length != size) {
        throw new IllegalArgumentException(s"column ${top.name_} has ${values.length} numbers, expected $size")
      }
      if (top.transpose_) values.indices.foreach(i => out(i * batch + row) = values(i))
      else System.arraycopy(values, 0, out, row * size, size)
  }
}
