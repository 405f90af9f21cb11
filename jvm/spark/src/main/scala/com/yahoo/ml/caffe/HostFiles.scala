package com.yahoo.ml.caffe

import java.nio.file.{Files, Path, Paths}

import caffe.Caffe.{LayerParameter, NetParameter, SolverParameter}
import org.apache.spark.SparkFiles

import scala.jdk.CollectionConverters._
import scala.util.Try

/** A network's files as this host has them. */
private[caffe] object HostFiles {
  def prepare(solver: SolverParameter): SolverParameter = {
    val out = solver.toBuilder
    if (solver.hasNetParam) out.setNetParam(prepare(solver.getNetParam))
    if (solver.hasTrainNetParam) out.setTrainNetParam(prepare(solver.getTrainNetParam))
    for (i <- 0 until solver.getTestNetParamCount) out.setTestNetParam(i, prepare(solver.getTestNetParam(i)))
    out.build()
  }

  def prepare(net: NetParameter): NetParameter = {
    val out = net.toBuilder
    for ((layer, i) <- net.getLayerList.asScala.zipWithIndex if layer.getTransformParam.hasMeanFile) {
      shipped(layer).foreach { file =>
        val changed = layer.toBuilder
        changed.getTransformParamBuilder.setMeanFile(file.toString)
        out.setLayer(i, changed)
      }
    }
    out.build()
  }

  /** A file that spark-submit --files brought is in a folder of Spark's, not always in the working folder. */
  private def shipped(layer: LayerParameter): Option[Path] = {
    val name = Paths.get(layer.getTransformParam.getMeanFile)
    if (Files.exists(name)) None
    else Try(Paths.get(SparkFiles.get(name.getFileName.toString))).toOption.filter(Files.exists(_))
  }
}
