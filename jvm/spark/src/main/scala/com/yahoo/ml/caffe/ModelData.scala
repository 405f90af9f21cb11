package com.yahoo.ml.caffe

import java.io.FileNotFoundException
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path, Paths}

import caffe.Caffe.{NetParameter, SolverParameter}
import com.fasterxml.jackson.databind.{JsonNode, ObjectMapper}
import com.yahoo.ml.caffe.engine.Messages
import com.yahoo.ml.caffe.shaded.protobuf.TextFormat
import org.apache.hadoop.conf.Configuration
import org.apache.spark.SparkFiles
import org.apache.spark.ml.param.{Param, Params}
import org.apache.spark.sql.SparkSession

import scala.jdk.CollectionConverters._
import scala.util.Try

/** The parts of a model that are not Params. `net` is a NetParameter of all phases; `weights` and `mean` are files. */
private[caffe] final case class ModelData(net: Array[Byte], weights: Array[Byte], mean: Array[Byte]) {
  lazy val digest: String = Manifest.sha256(weights)

  def hdf5: Boolean = weights.startsWith(ModelData.Hdf5Signature)
}

private[caffe] object ModelData {
  private val Hdf5Signature = Array(0x89, 'H', 'D', 'F').map(_.toByte)

  def apply(source: NetSource, weights: Array[Byte]): ModelData = ModelData(source.net.toByteArray, weights, source.mean)
}

/** A network's definition and the mean image that its TEST phase asks for; `mean` is empty where there is none. */
private[caffe] final case class NetSource(net: NetParameter, mean: Array[Byte])

private[caffe] object NetSource {
  /** From a path, or from the text of a prototxt itself. */
  def read(pathOrText: String): NetSource =
    if (isText(pathOrText)) parse(pathOrText.getBytes(UTF_8), "net", None)
    else {
      val folder = localFile(pathOrText).flatMap(file => Option(file.toAbsolutePath.getParent))
      parse(bytes(pathOrText, "the network"), pathOrText, None, folder)
    }

  /** From a message, of whatever version of Caffe. */
  def of(net: NetParameter): NetSource = {
    val plain = net.toBuilder
    for (i <- 0 until net.getLayerCount) plain.getLayerBuilder(i).clearBlobs()
    parse(TextFormat.printer().printToString(plain).getBytes(UTF_8), "net", None)
  }

  def parse(text: Array[Byte], name: String, mean: Option[Array[Byte]], folder: Option[Path] = None): NetSource = {
    val net = NetParameter.parseFrom(Messages.parseNet(text, name))
    NetSource(net, mean.orElse(meanFile(net, folder)).getOrElse(Array.empty[Byte]))
  }

  /** The text of a network's prototxt. */
  def text(pathOrText: String): String =
    if (isText(pathOrText)) pathOrText else new String(bytes(pathOrText, "the network"), UTF_8)

  /** The text of a solver's prototxt, with the network of its file inside as net_param. */
  def solverText(pathOrText: String): String = {
    val read =
      if (isText(pathOrText)) withNet(SolverParameter.parseFrom(Messages.parseSolver(pathOrText.getBytes(UTF_8), "solver")))
      else {
        val files = SolverFiles.read(pathOrText)
        val out = files.solver.toBuilder.clearNet().clearTrainNet().clearTestNet().clearNetParam().clearTestNetParam()
        if (files.trainNet != files.testNet) out.setTrainNetParam(files.trainNet).addTestNetParam(files.testNet)
        else out.clearTrainNetParam().setNetParam(files.trainNet)
        out.build()
      }
    TextFormat.printer().printToString(read)
  }

  /** With the network in place of its path, if it is there; else whoever reads this may have it, or need it not. */
  private def withNet(solver: SolverParameter): SolverParameter =
    if (!solver.hasNet || localFile(solver.getNet).isEmpty) solver
    else {
      val net = NetParameter.parseFrom(Messages.parseNet(bytes(solver.getNet, "the network"), solver.getNet))
      solver.toBuilder.clearNet().setNetParam(net).build()
    }

  /** Prototxts have braces, quotes, line breaks or colons before blanks; file names do not. */
  def isText(pathOrText: String): Boolean =
    pathOrText.exists(c => c == '{' || c == '\n' || c == '"') || pathOrText.contains(": ")

  /** The content of a local file, one sent along with --files, or one that Hadoop's configuration knows. */
  def bytes(name: String, what: String): Array[Byte] = localFile(name) match {
    case Some(file) => Files.readAllBytes(file)
    case None =>
      val storage = new Storage(SparkSession.getActiveSession.orElse(SparkSession.getDefaultSession)
        .fold(new Configuration)(_.sparkContext.hadoopConfiguration))
      val path = storage.resolve(name)
      if (!storage.exists(path)) throw new FileNotFoundException(s"$what $name does not exist")
      storage.readBytes(path)
  }

  private def localFile(name: String): Option[Path] = Storage.localName(name).map(Paths.get(_)).flatMap { file =>
    (Seq(file) ++ Try(Paths.get(SparkFiles.get(file.getFileName.toString))).toOption).find(Files.isRegularFile(_))
  }

  /** The content of the mean file that a network names; empty where there is none. */
  def meanOf(net: NetParameter): Array[Byte] = meanFile(net, None).getOrElse(Array.empty[Byte])

  private def meanFile(net: NetParameter, folder: Option[Path]): Option[Array[Byte]] = {
    val names = ServingNet.layers(net, Nil).filter(_.getTransformParam.hasMeanFile).map(_.getTransformParam.getMeanFile)
    names.headOption.flatMap { name =>
      localFile(name).orElse(folder.map(_.resolve(Paths.get(name).getFileName)).filter(Files.isRegularFile(_)))
        .map(Files.readAllBytes)
    }
  }
}

/** Params as spark.ml saves them, in the folder "metadata" of a stage. */
private[caffe] final class SavedParams(root: JsonNode) {
  val uid: String = root.get("uid").asText

  def values(owner: Params): Seq[(Param[Any], Any)] = decoded(owner, "paramMap")

  def defaults(owner: Params): Seq[(Param[Any], Any)] = decoded(owner, "defaultParamMap")

  private def decoded(owner: Params, field: String): Seq[(Param[Any], Any)] =
    Option(root.get(field)).toSeq.flatMap(_.properties.asScala).map { entry =>
      val param = owner.getParam(entry.getKey)
      (param, param.jsonDecode(entry.getValue.toString))
    }
}

private[caffe] object SavedParams {
  def read(folder: org.apache.hadoop.fs.Path, storage: Storage, kind: Class[_]): SavedParams = {
    val files = storage.list(new org.apache.hadoop.fs.Path(folder, "metadata")).filter(_.getName.startsWith("part-"))
    val text = files.sortBy(_.getName).map(storage.readText).find(_.trim.nonEmpty).getOrElse(
      throw new FileNotFoundException(s"$folder holds no saved ${kind.getSimpleName}: it has no file metadata/part-*"))
    val root = new ObjectMapper().readTree(text)
    val found = Option(root.get("class")).fold("")(_.asText)
    if (found != kind.getName) throw new IllegalArgumentException(s"$folder holds a $found, not a ${kind.getName}")
    new SavedParams(root)
  }
}
