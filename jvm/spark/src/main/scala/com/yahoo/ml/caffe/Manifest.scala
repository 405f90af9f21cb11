package com.yahoo.ml.caffe

import java.io.InputStream
import java.nio.file.{Files, Path => LocalPath}
import java.security.MessageDigest

import org.apache.hadoop.fs.Path

import scala.util.Try

/** A file of a snapshot, by name within its folder. */
private[caffe] final case class ManifestFile(name: String, size: Long, sha256: String)

/**
 * Says that a snapshot is complete, and whose it is. Written after the files it names, so a snapshot without a manifest
 * was interrupted. `arguments` stands for what the user asked for (TrainJob), `rounds` are the validation rounds before it.
 */
private[caffe] final case class Manifest(job: String, finished: Boolean, iteration: Long, position: Long, seed: Long,
    world: Int, arguments: String, files: Seq[ManifestFile], rounds: Seq[Round]) {
  def text: String = {
    val lines = Seq("format 1", s"job $job", s"finished $finished", s"iteration $iteration", s"position $position",
      s"seed $seed", s"world $world", s"arguments $arguments") ++
      files.map(f => s"file ${f.sha256} ${f.size} ${f.name}") ++ rounds.map(_.line)
    lines.mkString("", "\n", "\nend\n")
  }
}

/** Outputs of the first test net at one iteration. */
private[caffe] final case class Round(iteration: Long, outputs: Seq[(String, Array[Float])]) {
  def line: String = {
    val columns = outputs.map { case (name, values) => s"$name=${values.map(java.lang.Float.toHexString).mkString(",")}" }
    s"round $iteration ${columns.mkString(" ")}"
  }
}

private[caffe] object Round {
  /** The inverse of `line`; None for anything else. */
  def parseLine(line: String): Option[Round] =
    if (line.startsWith("round ")) Try(parse(line.stripPrefix("round "))).toOption else None

  def parse(text: String): Round = {
    val parts = text.split(' ')
    Round(parts.head.toLong, parts.tail.toSeq.map { column =>
      val at = column.lastIndexOf('=')
      column.take(at) -> column.drop(at + 1).split(',').filter(_.nonEmpty).map(_.toFloat)
    })
  }
}

private[caffe] object Manifest {
  val Suffix = ".manifest"

  def parse(text: String): Option[Manifest] = Try {
    val lines = text.split('\n').toSeq
    require(lines.last == "end" && lines.head == "format 1")
    def all(key: String) = lines.filter(_.startsWith(key + " ")).map(_.drop(key.length + 1))
    def one(key: String) = all(key).head
    val files = all("file").map { line =>
      val Array(sha, size, name) = line.split(" ", 3)
      ManifestFile(name, size.toLong, sha)
    }
    Manifest(one("job"), one("finished").toBoolean, one("iteration").toLong, one("position").toLong, one("seed").toLong,
      one("world").toInt, all("arguments").headOption.getOrElse(""), files, all("round").map(Round.parse))
  }.toOption

  def describe(file: LocalPath, name: String): ManifestFile = ManifestFile(name, Files.size(file), sha256(file))

  def sha256(file: LocalPath): String = sha256(Files.newInputStream(file))

  /** Of all that is left in `in`, which is closed. */
  def sha256(in: InputStream): String = {
    val digest = MessageDigest.getInstance("SHA-256")
    try {
      val buffer = new Array[Byte](1 << 16)
      Iterator.continually(in.read(buffer)).takeWhile(_ >= 0).foreach(digest.update(buffer, 0, _))
    } finally in.close()
    hex(digest)
  }

  def sha256(bytes: Array[Byte]): String = {
    val digest = MessageDigest.getInstance("SHA-256")
    digest.update(bytes)
    hex(digest)
  }

  private def hex(digest: MessageDigest): String = digest.digest().map(b => f"$b%02x").mkString

  def read(storage: Storage, path: Path): Option[Manifest] =
    if (storage.exists(path)) parse(storage.readText(path)) else None

  /** The newest whole one of `all`; its files are read to be sure. */
  def newest(storage: Storage, bases: Seq[Path], wanted: Manifest => Boolean): Option[RestartPoint] =
    all(storage, bases, wanted).find(isWhole(storage, _))

  /** The snapshots `base`_iter_N of all `bases` that are wanted, by their manifests; the newest first. */
  def all(storage: Storage, bases: Seq[Path], wanted: Manifest => Boolean): Seq[RestartPoint] = {
    val found = for {
      base <- bases
      file <- storage.list(base.getParent)
      if file.getName.startsWith(base.getName + "_iter_") && file.getName.endsWith(Suffix)
      manifest <- Try(read(storage, file)).toOption.flatten.filter(wanted)
    } yield RestartPoint(manifest, file)
    found.sortBy(-_.manifest.iteration)
  }

  private def isWhole(storage: Storage, point: RestartPoint): Boolean = point.manifest.files.zip(point.paths).forall {
    case (file, path) => Try(storage.size(path) == file.size && storage.sha256(path) == file.sha256).getOrElse(false)
  }
}
