package com.yahoo.ml.caffe

import java.nio.file.{Files, Path, Paths}

import caffe.Caffe.{DataParameter, LayerParameter, NetParameter, NetState, NetStateRule, Phase, SolverParameter}

import scala.jdk.CollectionConverters._

/** Questions to a network's definition, and the form of it that the engine on an executor gets. */
private[caffe] object Nets {
  val LmdbClass = "com.yahoo.ml.caffe.LMDB"

  private val dataTypes =
    Set("Data", "MemoryData", "CoSData", "ImageData", "HDF5Data", "WindowData", "DummyData", "Input")

  /** Does the layer bring data into the network, from wherever? */
  def readsData(layer: LayerParameter): Boolean = dataTypes(layer.getType)

  def trainState(solver: SolverParameter, net: NetParameter): NetState =
    state(net, if (solver.hasTrainState) solver.getTrainState else NetState.getDefaultInstance, Phase.TRAIN)

  def testState(solver: SolverParameter, net: NetParameter): NetState =
    state(net, if (solver.getTestStateCount > 0) solver.getTestState(0) else NetState.getDefaultInstance, Phase.TEST)

  private def state(net: NetParameter, more: NetState, phase: Phase): NetState =
    net.getState.toBuilder.mergeFrom(more).setPhase(phase).build()

  def included(layer: LayerParameter, state: NetState): Boolean = {
    val rules = layer.getIncludeList.asScala
    if (rules.isEmpty) !layer.getExcludeList.asScala.exists(meets(_, state))
    else rules.exists(meets(_, state))
  }

  private def meets(rule: NetStateRule, state: NetState): Boolean = {
    val stages = state.getStageList.asScala
    (!rule.hasPhase || rule.getPhase == state.getPhase) &&
    (!rule.hasMinLevel || state.getLevel >= rule.getMinLevel) &&
    (!rule.hasMaxLevel || state.getLevel <= rule.getMaxLevel) &&
    rule.getStageList.asScala.forall(stages.contains(_)) &&
    !rule.getNotStageList.asScala.exists(stages.contains(_))
  }

  /** Index of the first layer of `state` that reads data, -1 if there is none. */
  def dataLayer(net: NetParameter, state: NetState): Int =
    net.getLayerList.asScala.indexWhere(layer => dataTypes(layer.getType) && included(layer, state))

  /**
   * The network with every data layer of `states` as the engine reads it: a MemoryData layer over an LMDB becomes a Data
   * layer, and paths are absolute. Layers of other states stay as they are; the engine leaves them out.
   */
  def forEngine(net: NetParameter, states: Seq[NetState]): NetParameter = {
    val out = net.toBuilder
    for ((layer, i) <- net.getLayerList.asScala.zipWithIndex if states.exists(included(layer, _))) {
      layer.getType match {
        case "MemoryData" | "CoSData" => out.setLayer(i, asDataLayer(layer))
        case "Data" => out.setLayer(i, withLocalSource(layer))
        case _ => out.setLayer(i, withLocalMean(layer))
      }
    }
    out.build()
  }

  /** The same data layer over other records. */
  def withSource(net: NetParameter, layer: Int, backend: String, path: String): NetParameter = {
    val changed = net.getLayer(layer).toBuilder
    changed.getDataParamBuilder.setBackend(DataParameter.DB.valueOf(backend)).setSource(path)
    net.toBuilder.setLayer(layer, changed).build()
  }

  private def asDataLayer(layer: LayerParameter): LayerParameter = {
    requireLmdbClass(layer)
    val memory = layer.getMemoryDataParam
    val data = DataParameter.newBuilder().setBackend(DataParameter.DB.LMDB).setSource(memory.getSource)
      .setBatchSize(memory.getBatchSize)
    withLocalSource(layer.toBuilder.setType("Data").clearMemoryDataParam().clearSourceClass().setDataParam(data).build())
  }

  def requireLmdbClass(layer: LayerParameter): Unit = {
    if (!layer.hasSourceClass) {
      throw new IllegalArgumentException(s"${describe(layer)} has no source_class, so Spark cannot feed it; add  " +
        s"source_class: \"$LmdbClass\"  and a source, or use a Data layer")
    }
    if (layer.getSourceClass != LmdbClass) {
      throw new IllegalArgumentException(s"${describe(layer)} reads through ${layer.getSourceClass}, which is not " +
        s"supported by this version; it reads $LmdbClass and Data layers")
    }
  }

  private def withLocalSource(layer: LayerParameter): LayerParameter = {
    val data = layer.getDataParam
    if (data.getSource.isEmpty) throw new IllegalArgumentException(s"${describe(layer)} has no source")
    if (data.getBatchSize == 0) throw new IllegalArgumentException(s"${describe(layer)} has no batch_size")
    val changed = layer.toBuilder
    changed.getDataParamBuilder.setSource(localSource(layer, data.getSource).toString)
    withLocalMean(changed.build())
  }

  /** Where the records are on every host. */
  def localSource(layer: LayerParameter, source: String): Path = Storage.localName(source) match {
    case Some(name) => Paths.get("").toAbsolutePath.resolve(name).normalize()
    case None =>
      throw new IllegalArgumentException(s"${describe(layer)}: source $source is not on a local disk, which this version " +
        "needs; copy it to the same folder of every host and name that")
  }

  private def withLocalMean(layer: LayerParameter): LayerParameter =
    if (!layer.hasTransformParam || !layer.getTransformParam.hasMeanFile) layer
    else {
      val name = layer.getTransformParam.getMeanFile
      val here = Storage.localName(name).map(Paths.get("").toAbsolutePath.resolve(_).normalize())
      here.filter(Files.exists(_)).fold(layer) { file =>
        val changed = layer.toBuilder
        changed.getTransformParamBuilder.setMeanFile(file.toString)
        changed.build()
      }
    }

  def describe(layer: LayerParameter): String = s"layer ${layer.getName} (${layer.getType})"

  /** Outputs that are one value, or one set of values, per batch whatever its size. */
  def perBatchBlobs(net: NetParameter): Set[String] = net.getLayerList.asScala.flatMap { layer =>
    if (layer.getType == "Accuracy") layer.getTopList.asScala
    else if (layer.getType.endsWith("Loss")) layer.getTopList.asScala.take(1)
    else Nil
  }.toSet
}
