package com.yahoo.ml.caffe

import java.nio.file.{Files, Path, Paths}

import caffe.Caffe.{LayerParameter, NetParameter, SolverParameter}
import org.apache.spark.SparkFiles

import scala.jdk.CollectionConverters._
import scala.util.Try

/** A network's files as this host has them. */
private[caffe] object HostFiles {
  /** Files and stores of Hadoop file systems become copies. */
  def prepare(solver: SolverParameter, copies: HostCopies): SolverParameter = {
    val out = solver.toBuilder
    if (solver.hasNetParam) out.setNetParam(prepare(solver.getNetParam, copies))
    if (solver.hasTrainNetParam) out.setTrainNetParam(prepare(solver.getTrainNetParam, copies))
    for (i <- 0 until solver.getTestNetParamCount) out.setTestNetParam(i, prepare(solver.getTestNetParam(i), copies))
    out.build()
  }

  def prepare(net: NetParameter, copies: HostCopies): NetParameter = changed(net) { layer =>
    val here = Nets.withMeanFiles(layer) { name =>
      if (isRemote(name)) Some(copies.file(uri(name), s"${Nets.describe(layer)}: mean_file").toString)
      else shipped(name)
    }
    remoteStore(here).fold(here) { case (backend, source) =>
      val out = here.toBuilder
      out.getDataParamBuilder.setSource(copies.folder(source, s"${Nets.describe(layer)}: $backend").toString)
      out.build()
    }
  }

  /** On the driver: says how much each host will copy, and finds out early what does not exist. */
  def announce(storage: Storage, nets: Seq[NetParameter]): Unit =
    for ((kind, source) <- nets.flatMap(_.getLayerList.asScala.flatMap(remoteStore)).distinct) {
      val remote = RemoteFiles.named(storage, source, kind)
      println(s"$remote: ${HostCache.size(remote.bytes)}, copied once to each host that needs it")
    }

  private def isRemote(name: String): Boolean = name.startsWith(Nets.CopyMark)

  private def uri(name: String): String = name.stripPrefix(Nets.CopyMark)

  private def remoteStore(layer: LayerParameter): Option[(String, String)] = {
    val data = layer.getDataParam
    if (layer.getType == "Data" && isRemote(data.getSource)) Some(data.getBackend.name -> uri(data.getSource)) else None
  }

  def nets(solver: SolverParameter): Seq[NetParameter] =
    Seq(solver.getNetParam, solver.getTrainNetParam) ++ solver.getTestNetParamList.asScala

  /** The solver's networks with the paths of the files of rows, by their layers' tags. */
  def withRows(solver: SolverParameter, files: Map[Int, Path]): SolverParameter = {
    val paths = files.map { case (tag, path) => Nets.rowsPlaceholder(tag) -> path.toString }
    val out = solver.toBuilder
    if (solver.hasNetParam) out.setNetParam(withRows(solver.getNetParam, paths))
    if (solver.hasTrainNetParam) out.setTrainNetParam(withRows(solver.getTrainNetParam, paths))
    for (i <- 0 until solver.getTestNetParamCount) out.setTestNetParam(i, withRows(solver.getTestNetParam(i), paths))
    out.build()
  }

  private def withRows(net: NetParameter, paths: Map[String, String]): NetParameter = changed(net) { layer =>
    val out = layer.toBuilder
    paths.get(layer.getMemoryDataParam.getSource).foreach(out.getMemoryDataParamBuilder.setSource(_))
    paths.get(layer.getCosDataParam.getSource).foreach(out.getCosDataParamBuilder.setSource(_))
    out.build()
  }

  private def changed(net: NetParameter)(change: LayerParameter => LayerParameter): NetParameter = {
    val out = net.toBuilder
    for ((layer, i) <- net.getLayerList.asScala.zipWithIndex) out.setLayer(i, change(layer))
    out.build()
  }

  /** A file that spark-submit --files brought is in a folder of Spark's, not always in the working folder. */
  private def shipped(file: String): Option[String] = {
    val name = Paths.get(file)
    if (Files.exists(name)) None
    else Try(Paths.get(SparkFiles.get(name.getFileName.toString))).toOption.filter(Files.exists(_)).map(_.toString)
  }
}
