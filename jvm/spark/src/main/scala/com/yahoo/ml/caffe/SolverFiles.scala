package com.yahoo.ml.caffe

import java.io.IOException
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path, Paths}

import caffe.Caffe.{NetParameter, SolverParameter}
import com.yahoo.ml.caffe.engine.Messages
import org.apache.spark.SparkFiles

import scala.util.Try

/** A solver's prototxt and the networks that it names. */
private[caffe] final case class SolverFiles(solver: SolverParameter, trainNet: NetParameter, testNet: NetParameter)

private[caffe] object SolverFiles {
  private val prefixField = "(?m)^[^#\n]*\\bsnapshot_prefix\\s*:".r

  def read(file: String): SolverFiles = {
    val path = find(file, scala.None, "-conf")
    val text = bytes(path)
    val parsed = SolverParameter.parseFrom(Messages.parseSolver(text, path.toString))
    val solver =
      if (prefixField.findFirstIn(new String(text, UTF_8)).isDefined) parsed
      else parsed.toBuilder.setSnapshotPrefix(baseName(path)).build()
    val beside = Option(path.toAbsolutePath.getParent)
    def net(name: String): NetParameter = {
      val found = find(name, beside, s"${path.getFileName}: net")
      NetParameter.parseFrom(Messages.parseNet(bytes(found), found.toString))
    }
    lazy val shared =
      if (solver.hasNetParam) solver.getNetParam
      else if (solver.hasNet) net(solver.getNet)
      else throw new IllegalArgumentException(s"""$path: the solver names no network; add  net: "file.prototxt" """.trim)
    val train =
      if (solver.hasTrainNetParam) solver.getTrainNetParam
      else if (solver.hasTrainNet) net(solver.getTrainNet)
      else shared
    val test =
      if (solver.getTestNetParamCount > 0) solver.getTestNetParam(0)
      else if (solver.getTestNetCount > 0) net(solver.getTestNet(0))
      else if (solver.hasNet || solver.hasNetParam) shared
      else train
    SolverFiles(solver, train, test)
  }

  /** In the working folder, beside the solver, or among the files that spark-submit --files brought. */
  private def find(name: String, beside: Option[Path], what: String): Path = {
    if (name == null || name.trim.isEmpty) {
      throw new IllegalArgumentException(s"$what names no file")
    }
    val plain = Paths.get(Storage.localName(name).getOrElse(
      throw new IllegalArgumentException(s"$what $name is not a local file; send it along with spark-submit --files")))
    val candidates = Seq(plain) ++ beside.map(_.resolve(plain)) ++
      Try(Paths.get(SparkFiles.get(plain.getFileName.toString))).toOption
    candidates.find(Files.isRegularFile(_)).getOrElse {
      val where = if (plain.isAbsolute) "" else s" in ${Paths.get("").toAbsolutePath}" + beside.fold("")(b => s" or $b")
      throw new IOException(s"$what $name does not exist$where")
    }
  }

  private def bytes(path: Path): Array[Byte] =
    try Files.readAllBytes(path)
    catch { case e: IOException => throw new IOException(s"$path cannot be read: $e", e) }

  private def baseName(path: Path): String = path.getFileName.toString.stripSuffix(".prototxt")
}
