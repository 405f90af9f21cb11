package com.yahoo.ml.caffe

import caffe.Caffe.{BlobShape, CoSDataParameter, LayerParameter, NetParameter, NetState, Phase, TransformationParameter}

import scala.collection.mutable
import scala.jdk.CollectionConverters._

/**
 * A blob that rows fill. `shape` is a row's in the network; `record` that of a row before it is transformed, where both
 * differ (they do where a crop is taken). None: nothing says it.
 */
private[caffe] final case class ServingInput(blob: String, shape: Option[Seq[Int]], record: Option[Seq[Int]],
    transform: TransformationParameter)

/** A network made ready to answer rows: Input layers in place of data layers, and only what its outputs need. */
private[caffe] final case class ServingNet(net: NetParameter, inputs: Seq[ServingInput], outputs: Seq[String], batch: Int)

private[caffe] object ServingNet {
  private val SoftmaxLosses = Set("SoftmaxWithLoss", "SoftmaxLoss")
  private val UsualBatch = 32

  private def testState(net: NetParameter, stages: Seq[String]): NetState =
    net.getState.toBuilder.addAllStage(stages.asJava).setPhase(Phase.TEST).build()

  private def layersOf(net: NetParameter, state: NetState): Seq[LayerParameter] =
    net.getLayerList.asScala.filter(Nets.included(_, state)).toSeq

  /** Layers of phase TEST. */
  def layers(net: NetParameter, stages: Seq[String]): Seq[LayerParameter] = layersOf(net, testState(net, stages))

  /** Every blob that could be filled, in the order of the network. */
  def inputs(net: NetParameter, stages: Seq[String]): Seq[ServingInput] = inputsOf(net, testState(net, stages))

  def inputsOf(net: NetParameter, state: NetState): Seq[ServingInput] =
    layersOf(net, state).filter(Nets.readsData).flatMap { layer =>
      layer.getTopList.asScala.zipWithIndex.map { case (blob, i) => input(layer, blob, i) }
    }

  /** Rows in a batch, as the data layers say. */
  def batchOf(net: NetParameter, state: NetState): Int =
    layersOf(net, state).filter(Nets.readsData).map(batchOf).find(_ > 1).getOrElse(UsualBatch)

  private def input(layer: LayerParameter, blob: String, top: Int): ServingInput = layer.getType match {
    case "Input" =>
      val shapes = layer.getInputParam.getShapeList.asScala
      val shape = if (shapes.length == 1) shapes.headOption else shapes.lift(top)
      val row = shape.map(_.getDimList.asScala.drop(1).map(_.intValue).toSeq)
      // Caffe ignores a transform_param here; models of a CaffeEstimator have one.
      ServingInput(blob, row, None, if (top == 0) layer.getTransformParam else noTransform)
    case "CoSData" => cosInput(blob, layer.getCosDataParam.getTop(top))
    case _ if top > 0 => ServingInput(blob, Some(Nil), None, noTransform)
    case "MemoryData" =>
      val memory = layer.getMemoryDataParam
      val shape = Seq(memory.getChannels, memory.getHeight, memory.getWidth)
      ServingInput(blob, if (shape.forall(_ > 0)) Some(shape) else None, None, layer.getTransformParam)
    case _ => ServingInput(blob, None, None, layer.getTransformParam)
  }

  private def cosInput(blob: String, top: CoSDataParameter.TopBlob): ServingInput = {
    def or(value: Int, otherwise: Int) = if (value > 0) value else otherwise
    val record = Seq(top.getChannels, top.getHeight, top.getWidth)
    val shape = Seq(or(top.getOutChannels, record.head), or(top.getOutHeight, record(1)), or(top.getOutWidth, record(2)))
    val axes = top.getSampleNumAxes
    ServingInput(blob, Some(shape.take(axes)), if (axes == 3) Some(record) else None, top.getTransformParam)
  }

  private def noTransform = TransformationParameter.getDefaultInstance

  /**
   * The part of the network that leads from the blobs `fed` to the blobs `wanted` (none: whatever is left without a reader).
   * A softmax loss whose labels are not fed becomes a Softmax layer, whose blob is the loss's second top, or "prob".
   */
  def build(net: NetParameter, stages: Seq[String], fed: Seq[String], wanted: Seq[String]): ServingNet = {
    val known = inputs(net, stages)
    val missing = fed.find(blob => !known.exists(_.blob == blob))
    missing.foreach { blob =>
      throw new IllegalArgumentException(s"blob $blob is no input of network '${net.getName}', whose inputs are " +
        list(known.map(_.blob)))
    }
    val all = layers(net, stages)
    val reachable = fedLayers(all, fed.toSet)
    val tops = reachable.flatMap(_.getTopList.asScala).distinct
    wanted.find(blob => !tops.contains(blob) && !fed.contains(blob)).foreach { blob =>
      val exists = all.exists(_.getTopList.contains(blob))
      val why = if (exists) s"needs more inputs than ${list(fed)}" else "does not exist in phase TEST"
      throw new IllegalArgumentException(s"blob $blob of network '${net.getName}' $why; blobs that can be read are ${list(tops)}")
    }
    val outputs = if (wanted.nonEmpty) wanted else unread(reachable)
    if (outputs.isEmpty) {
      throw new IllegalArgumentException(s"no layer of network '${net.getName}' in phase TEST works on ${list(fed)} alone")
    }
    val batch = batchOf(net, testState(net, stages))
    val kept = needed(reachable, outputs.toSet).map(plain)
    ServingNet(net.toBuilder.clearLayer().addAllLayer(kept.asJava).build(), fed.map(blob => known.find(_.blob == blob).get),
      outputs, batch)
  }

  /** With an Input layer for each input of the shape given, batch axis included. */
  def withInputs(serving: ServingNet, shapes: Seq[Seq[Int]]): NetParameter = {
    val layers = serving.inputs.zip(shapes).map { case (input, shape) =>
      val layer = LayerParameter.newBuilder().setName(s"${input.blob}_rows").setType("Input").addTop(input.blob)
      layer.getInputParamBuilder.addShape(BlobShape.newBuilder().addAllDim(shape.map(n => Long.box(n.toLong)).asJava))
      layer.build()
    }
    val out = serving.net.toBuilder.clearLayer()
    out.addAllLayer((layers ++ serving.net.getLayerList.asScala).asJava).build()
  }

  /** May nets share parameters? Not where a forward pass changes them. */
  def canShare(net: NetParameter): Boolean = !net.getLayerList.asScala.exists { layer =>
    layer.getType == "BatchNorm" && layer.getBatchNormParam.hasUseGlobalStats && !layer.getBatchNormParam.getUseGlobalStats
  }

  private def fedLayers(all: Seq[LayerParameter], fed: Set[String]): Seq[LayerParameter] = {
    val there = mutable.Set(fed.toSeq: _*)
    val names = all.flatMap(_.getTopList.asScala).toSet
    all.filterNot(Nets.readsData).flatMap { layer =>
      val bottoms = layer.getBottomList.asScala.toSeq
      val kept =
        if (bottoms.forall(there.contains)) Some(layer)
        else if (SoftmaxLosses(layer.getType) && there.contains(bottoms.head)) softmax(layer, names)
        else None
      kept.foreach(_.getTopList.asScala.foreach(there.add))
      kept
    }
  }

  private def softmax(loss: LayerParameter, names: Set[String]): Option[LayerParameter] = {
    val top = if (loss.getTopCount > 1) loss.getTop(1) else "prob"
    if (loss.getTopCount < 2 && names(top)) None
    else {
      val layer = LayerParameter.newBuilder().setName(loss.getName).setType("Softmax").addBottom(loss.getBottom(0)).addTop(top)
      layer.getSoftmaxParamBuilder.setAxis(loss.getSoftmaxParam.getAxis)
      Some(layer.build())
    }
  }

  private def unread(layers: Seq[LayerParameter]): Seq[String] = {
    val read = layers.filterNot(l => l.getBottomList.asScala.exists(l.getTopList.contains(_)))
      .flatMap(_.getBottomList.asScala).toSet
    layers.flatMap(_.getTopList.asScala).distinct.filterNot(read)
  }

  private def needed(layers: Seq[LayerParameter], outputs: Set[String]): Seq[LayerParameter] = {
    val wanted = mutable.Set(outputs.toSeq: _*)
    layers.reverse.filter { layer =>
      val keep = layer.getTopList.asScala.exists(wanted.contains)
      if (keep) layer.getBottomList.asScala.foreach(wanted.add)
      keep
    }.reverse
  }

  /** Without rules, which are decided, and without fillers, whose work the weights would overwrite. */
  private def plain(layer: LayerParameter): LayerParameter = {
    val out = layer.toBuilder.clearInclude().clearExclude().clearBlobs()
    if (out.hasConvolutionParam) out.getConvolutionParamBuilder.clearWeightFiller().clearBiasFiller()
    if (out.hasInnerProductParam) out.getInnerProductParamBuilder.clearWeightFiller().clearBiasFiller()
    out.build()
  }

  private def batchOf(layer: LayerParameter): Int = layer.getType match {
    case "Input" => layer.getInputParam.getShapeList.asScala.headOption.filter(_.getDimCount > 0).fold(0)(_.getDim(0).toInt)
    case "MemoryData" => layer.getMemoryDataParam.getBatchSize
    case "CoSData" => layer.getCosDataParam.getBatchSize
    case _ => layer.getDataParam.getBatchSize
  }

  def list(names: Seq[String]): String = if (names.isEmpty) "none" else names.mkString(", ")
}
