package com.yahoo.ml.caffe

import java.nio.file.{Files, Paths}

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

  /** Of the first test net. */
  def testState(solver: SolverParameter, net: NetParameter): NetState = testStates(solver, net).head

  /** Of all test nets that a net with both phases makes. */
  def testStates(solver: SolverParameter, net: NetParameter): Seq[NetState] =
    if (solver.getTestStateCount == 0) Seq(state(net, NetState.getDefaultInstance, Phase.TEST))
    else solver.getTestStateList.asScala.toSeq.map(state(net, _, Phase.TEST))

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

  /** Indices of the layers of `states` that are fed with rows, not by a store that the engine reads itself. */
  def rowLayers(net: NetParameter, states: Seq[NetState], resize: Boolean): Seq[Int] =
    net.getLayerList.asScala.toSeq.zipWithIndex.collect {
      case (layer, i) if states.exists(included(layer, _)) && readsRows(layer, resize) => i
    }

  private def readsRows(layer: LayerParameter, resize: Boolean): Boolean = layer.getType match {
    case "CoSData" => true
    case "MemoryData" => !layer.hasSourceClass || layer.getSourceClass != LmdbClass || resize
    case _ => false
  }

  /** What stands for the file of rows of a layer until a worker knows its path. */
  def rowsPlaceholder(tag: Int): String = s"rows:$tag"

  /**
   * The network with every data layer of `states` as the engine reads it: a MemoryData layer over an LMDB becomes a Data
   * layer, layer i that is fed with rows reads the file that stands for `rowTag(i)`, and paths are absolute. Layers of
   * other states stay as they are; the engine leaves them out.
   */
  def forEngine(net: NetParameter, states: Seq[NetState], resize: Boolean, rowTag: Int => Int): NetParameter = {
    val out = net.toBuilder
    for ((layer, i) <- net.getLayerList.asScala.zipWithIndex if states.exists(included(layer, _))) {
      layer.getType match {
        case "MemoryData" | "CoSData" if readsRows(layer, resize) => out.setLayer(i, asRowLayer(layer, rowTag(i)))
        case "MemoryData" => out.setLayer(i, asDataLayer(layer))
        case "Data" => out.setLayer(i, withLocalSource(layer, resize))
        case _ => out.setLayer(i, withLocalMean(layer))
      }
    }
    out.build()
  }

  private def asRowLayer(layer: LayerParameter, tag: Int): LayerParameter = {
    requireSourceClass(layer)
    val out = layer.toBuilder.clearSourceClass()
    if (layer.getType == "CoSData") out.getCosDataParamBuilder.setSource(rowsPlaceholder(tag))
    else out.getMemoryDataParamBuilder.setSource(rowsPlaceholder(tag))
    withLocalMean(out.build())
  }

  /** Data layers of `state` that read a store by themselves. */
  def storeLayers(net: NetParameter, state: NetState): Seq[LayerParameter] =
    net.getLayerList.asScala.toSeq.filter(layer => layer.getType == "Data" && included(layer, state))

  /** The same network with one record more in each batch. */
  def withLargerBatches(net: NetParameter): NetParameter = {
    val out = net.toBuilder
    for ((layer, i) <- net.getLayerList.asScala.zipWithIndex) layer.getType match {
      case "MemoryData" => out.getLayerBuilder(i).getMemoryDataParamBuilder.setBatchSize(batchSize(layer) + 1)
      case "CoSData" => out.getLayerBuilder(i).getCosDataParamBuilder.setBatchSize(batchSize(layer) + 1)
      case "Data" => out.getLayerBuilder(i).getDataParamBuilder.setBatchSize(batchSize(layer) + 1)
      case _ =>
    }
    out.build()
  }

  /** Records of a batch of a data layer; 0 where the layer says nothing. */
  def batchSize(layer: LayerParameter): Int = layer.getType match {
    case "MemoryData" => layer.getMemoryDataParam.getBatchSize
    case "CoSData" => layer.getCosDataParam.getBatchSize
    case _ => layer.getDataParam.getBatchSize
  }

  /** The same data layer over other records. */
  def withSource(net: NetParameter, layer: Int, backend: String, path: String): NetParameter = {
    val changed = net.getLayer(layer).toBuilder
    val data = changed.getDataParamBuilder.setSource(markIfRemote(path))
    if (Records.isLibrary(backend)) changed.setSourceClass(backend) else data.setBackend(DataParameter.DB.valueOf(backend))
    net.toBuilder.setLayer(layer, changed).build()
  }

  private def asDataLayer(layer: LayerParameter): LayerParameter = {
    val memory = layer.getMemoryDataParam
    val data = DataParameter.newBuilder().setBackend(DataParameter.DB.LMDB).setSource(memory.getSource)
      .setBatchSize(memory.getBatchSize)
    val plain = layer.toBuilder.setType("Data").clearMemoryDataParam().clearSourceClass().setDataParam(data).build()
    withLocalSource(plain, resize = false)
  }

  def requireSourceClass(layer: LayerParameter): Unit =
    if (!layer.hasSourceClass) {
      throw new IllegalArgumentException(s"${describe(layer)} has no source_class, so Spark cannot feed it; add, for " +
        s"""example,  source_class: "$LmdbClass"  and a source, or use a Data layer""")
    }

  private def withLocalSource(layer: LayerParameter, resize: Boolean): LayerParameter = {
    if (resize) {
      throw new IllegalArgumentException(s"${describe(layer)} does not say to which size -resize goes; use a MemoryData " +
        s"""layer with  source_class: "$LmdbClass", which says it""")
    }
    val data = layer.getDataParam
    if (data.getSource.isEmpty) throw new IllegalArgumentException(s"${describe(layer)} has no source")
    if (data.getBatchSize == 0) throw new IllegalArgumentException(s"${describe(layer)} has no batch_size")
    val changed = layer.toBuilder
    changed.getDataParamBuilder.setSource(markIfRemote(storeSource(data.getSource)))
    withLocalMean(changed.build())
  }

  /** In front of a URI of which a host needs a copy; layers that are left out have none. */
  val CopyMark = "copy:"

  private def markIfRemote(name: String): String = if (Storage.localName(name).isEmpty) CopyMark + name else name

  /** Where the records are: a folder of every host, or a URI of a Hadoop file system. */
  def storeSource(source: String): String =
    Storage.localName(source).fold(source)(Paths.get("").toAbsolutePath.resolve(_).normalize().toString)

  private def withLocalMean(layer: LayerParameter): LayerParameter = withMeanFiles(layer) { name =>
    if (Storage.localName(name).isEmpty) Some(CopyMark + name)
    else Some(storeSource(name)).filter(file => Files.exists(Paths.get(file)))
  }

  /** The layer with those of its mean files replaced for which `change` gives another name. */
  def withMeanFiles(layer: LayerParameter)(change: String => Option[String]): LayerParameter = {
    val out = layer.toBuilder
    if (layer.getTransformParam.hasMeanFile) {
      change(layer.getTransformParam.getMeanFile).foreach(out.getTransformParamBuilder.setMeanFile(_))
    }
    for ((top, i) <- layer.getCosDataParam.getTopList.asScala.zipWithIndex if top.getTransformParam.hasMeanFile) {
      change(top.getTransformParam.getMeanFile).foreach { name =>
        out.getCosDataParamBuilder.getTopBuilder(i).getTransformParamBuilder.setMeanFile(name)
      }
    }
    out.build()
  }

  def describe(layer: LayerParameter): String = s"layer ${layer.getName} (${layer.getType})"
}
