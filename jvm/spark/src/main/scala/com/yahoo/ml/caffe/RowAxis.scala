package com.yahoo.ml.caffe

import java.nio.{ByteBuffer, ByteOrder}

import com.yahoo.ml.caffe.engine.Net

import scala.util.control.NonFatal

/** The axis of a blob that counts rows, `perRow` entries for each. */
private[caffe] final case class RowAxis(axis: Int, perRow: Long)

/**
 * Where the rows are in each of some blobs. Found by the same network with more and with fewer rows to a batch: the axis is
 * the first whose extent grows in step with them. An extent alone would not tell: there may be as many classes, or steps of
 * time, as rows.
 */
private[caffe] final case class RowAxes(axes: Map[String, RowAxis]) {
  /**
   * A row's own values of a batch of `rows`. A blob without an axis for rows (a loss, an accuracy, anything learned) has its
   * values for each of them.
   */
  def values(blob: String, all: Array[Float], shape: Seq[Long], rows: Int, row: Int): Array[Float] = axes.get(blob) match {
    case None => all
    case Some(RowAxis(axis, perRow)) =>
      if (shape(axis) != rows * perRow) {
        throw new CaffeException(s"blob $blob has ${shape(axis)} entries for $rows rows, not $perRow for each, as if a layer " +
          "had chosen among them, so nothing says whose they are; read another blob")
      }
      val before = shape.take(axis).product.toInt // steps of time
      val width = all.length / rows / before
      if (before == 1) all.slice(row * width, (row + 1) * width)
      else Array.tabulate(before)(t => (t * rows + row) * width).flatMap(at => all.slice(at, at + width))
  }
}

private[caffe] object RowAxes {
  type Shapes = Map[String, Seq[Long]]

  /**
   * By shapes with `rows` rows to a batch, and with `others`. Where there is no such network, as its batch size is written
   * into a layer, rows are taken to be on axis 0.
   */
  def of(rows: Long, shapes: Shapes, others: Long, changed: => Shapes): RowAxes = {
    val found =
      try {
        val other = changed
        shapes.map { case (blob, shape) => blob -> growing(rows, shape, others, other(blob)) }
      } catch { case NonFatal(_) => shapes.map { case (blob, shape) => blob -> first(rows, shape) } }
    RowAxes(found.collect { case (blob, Some(axis)) => blob -> axis })
  }

  /** By looking at a network all of whose inputs have their rows on axis 0. They are to be set anew after it. */
  def of(net: Net, blobs: Seq[String]): RowAxes = {
    val inputs = net.inputNames.toSeq.map(name => name -> net.shape(name).toSeq)
    def shapes: Shapes = blobs.map(blob => blob -> net.shape(blob).toSeq).toMap
    val rows = inputs.head._2.head
    val others = if (rows == 1) 2L else 1L
    of(rows, shapes, others, {
      for ((name, shape) <- inputs) {
        val zeros = ByteBuffer.allocateDirect(Math.toIntExact(4 * others * shape.tail.product)).order(ByteOrder.nativeOrder)
        net.setInput(name, (others +: shape.tail).toArray, zeros)
      }
      shapes
    })
  }

  private def growing(rows: Long, shape: Seq[Long], others: Long, changed: Seq[Long]): Option[RowAxis] =
    shape.zip(changed).zipWithIndex.collectFirst { case ((a, b), axis) if a != b => (a, b, axis) }.collect {
      case (a, b, axis) if a % rows == 0 && a / rows * others == b => RowAxis(axis, a / rows)
    }

  private def first(rows: Long, shape: Seq[Long]): Option[RowAxis] =
    shape.headOption.filter(extent => extent > 0 && extent % rows == 0).map(extent => RowAxis(0, extent / rows))
}
