package com.yahoo.ml.caffe

import caffe.Caffe.{BlobShape, CoSDataParameter, LayerParameter, NetParameter, NetState, NetStateRule, Phase, SolverParameter}
import caffe.Caffe.TransformationParameter
import caffe.Caffe.CoSDataParameter.DataType.{ENCODED_IMAGE, FLOAT_ARRAY, RAW_IMAGE}
import org.apache.spark.SparkContext
import org.apache.spark.rdd.RDD
import org.apache.spark.sql.{DataFrame, Row}
import org.apache.spark.sql.types.{BinaryType, StructType}

import scala.jdk.CollectionConverters._

/** A column that fills a blob of a network in training. */
private[caffe] final case class FittedColumn(input: FilledInput, raw: Boolean) {
  /** Axes of a row in the network. */
  def shape: Seq[Int] = input.shape

  def transform: TransformationParameter = TransformationParameter.parseFrom(input.transform)

  def top: CoSDataParameter.TopBlob = {
    val picture = input.dataType == BinaryType || input.dataType.isInstanceOf[StructType]
    val out = CoSDataParameter.TopBlob.newBuilder().setName(input.blob).setSampleNumAxes(shape.length)
      .setType(if (!picture) FLOAT_ARRAY else if (raw) RAW_IMAGE else ENCODED_IMAGE)
    val before = input.record.padTo(3, 1)
    val after = shape.padTo(3, 1)
    out.setChannels(before.head).setHeight(before(1)).setWidth(before(2))
    out.setOutChannels(after.head).setOutHeight(after(1)).setOutWidth(after(2))
    out.build()
  }
}

/**
 * A network whose data layers were replaced by layers that take a DataFrame's columns. `columns` are in the order of the
 * blobs; a blob's values are transformed as the layer that gave it before says.
 */
private[caffe] final class FittedNet(net: NetParameter, solver: SolverParameter, columns: Seq[FittedColumn], batch: Int,
    testBatch: Int, shuffle: Boolean) {
  private val trainState = Nets.trainState(solver, net)
  private val testState = Nets.testState(solver, net)

  /** For the trainer: one CoSData layer for each phase, before all others. */
  def training: NetParameter = {
    val states = Seq(trainState, testState)
    val others = net.getLayerList.asScala.filterNot(l => Nets.readsData(l) && states.exists(Nets.included(l, _)))
    val rows = states.map(rowsLayer)
    net.toBuilder.clearLayer().addAllLayer((rows ++ others).asJava).build()
  }

  private def rowsLayer(state: NetState): LayerParameter = {
    val data = CoSDataParameter.newBuilder().setSource("rows of a DataFrame")
      .setBatchSize(if (state.getPhase == Phase.TRAIN) batch else testBatch).setShuffle(shuffle && state.getPhase == Phase.TRAIN)
    for (column <- columns) {
      val top = column.top.toBuilder
      if (column.shape.length == 3) {
        val mirror = giver(state, column.input.blob).exists(_.getTransformParam.getMirror)
        top.setTransformParam(column.transform.toBuilder.setMirror(mirror))
      }
      data.addTop(top)
    }
    LayerParameter.newBuilder().setName(s"rows_${state.getPhase.name.toLowerCase}").setType("CoSData")
      .addAllTop(columns.map(_.input.blob).asJava).setSourceClass(classOf[FrameRows].getName)
      .addInclude(NetStateRule.newBuilder().setPhase(state.getPhase)).setCosDataParam(data).build()
  }

  /** The data layer of a phase whose first blob is this one. */
  private def giver(state: NetState, blob: String): Option[LayerParameter] =
    net.getLayerList.asScala.find(l => Nets.readsData(l) && Nets.included(l, state) && l.getTop(0) == blob)

  /** For a model, and for any Caffe: the network of phase TEST with an Input layer for each blob. */
  def deployed: NetParameter = {
    val inputs = columns.map { column =>
      val layer = LayerParameter.newBuilder().setName(column.input.blob).setType("Input").addTop(column.input.blob)
      val shape = BlobShape.newBuilder().addAllDim((batch +: column.shape).map(n => Long.box(n.toLong)).asJava)
      layer.getInputParamBuilder.addShape(shape)
      if (column.input.transform.nonEmpty) layer.setTransformParam(column.transform)
      layer.build()
    }
    val others = net.getLayerList.asScala.filter(l => !Nets.readsData(l) && Nets.included(l, testState))
      .map(_.toBuilder.clearInclude().clearExclude().build())
    net.toBuilder.clearLayer().clearState().addAllLayer((inputs ++ others).asJava).build()
  }
}

/** Values of a row, by column, that tell how rows look. */
private[caffe] final class FirstRow(val schema: StructType, values: Map[String, Any]) {
  /** Extents of a row of `input`: what the layer says, else what stands in the row. */
  def shape(column: String, input: ServingInput): Option[Seq[Int]] = {
    val crops = input.transform.getCropSize > 0
    InputReader.kind(schema(column).dataType) match {
      case Some("array" | "vector") if input.record.isEmpty && input.shape.forall(_.isEmpty) =>
        val count = RowValues.numbers(values(column)).length
        if (count == 1 && input.shape.isDefined) input.shape else Some(Seq(count))
      case Some("number") if input.shape.isEmpty => Some(Seq(1))
      case Some("image") if input.record.isEmpty && (input.shape.isEmpty || crops) =>
        val Row(height: Int, width: Int, channels: Int) = image(column, Seq("height", "width", "nChannels"))
        Some(Seq(channels, height, width))
      case _ => input.shape
    }
  }

  private def image(column: String, fields: Seq[String]): Row = {
    val struct = values(column).asInstanceOf[Row]
    Row.fromSeq(fields.map(struct.getAs[Any](_)))
  }

  /** Does a binary column hold pixels, `count` of them, not picture files? */
  def isPixels(column: String, count: Int): Boolean = values(column) match {
    case bytes: Array[Byte] => !InputReader.isFile(bytes, count)
    case _ => false
  }
}

/** The rows of a DataFrame whose columns are named as a layer's tops. */
private[caffe] final class FrameRows(conf: Config, layerId: Int, isTrain: Boolean, frame: DataFrame)
    extends DataFrameSource(conf, layerId, isTrain) {
  override private[caffe] def rows(sc: SparkContext): RDD[Array[Byte]] = RowReader.rows(frame, layerParameter, "the DataFrame")

  override private[caffe] def describe: String = "the DataFrame"
}
