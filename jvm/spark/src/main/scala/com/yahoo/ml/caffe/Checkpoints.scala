package com.yahoo.ml.caffe

import java.nio.file.{Path => LocalPath}

import org.apache.hadoop.fs.Path

import scala.util.Try

/** Where training can go on: a complete snapshot, by its manifest at `path`. */
private[caffe] final case class RestartPoint(manifest: Manifest, path: Path) {
  val paths: Seq[Path] = manifest.files.map(file => new Path(path.getParent, file.name))

  def model: Path = paths.head

  def state: Option[Path] = paths.lift(1)

  /** The weights of the best validation round so far, where training may stop early. */
  def best: Option[Path] = paths.lift(2)
}

/**
 * The recovery checkpoints of one job, in a hidden folder beside its model that only this job writes to. There is one, for
 * a moment two: older ones go when the next is complete. A newer one is that of a worker whose driver was killed, and as
 * good: the same job computes the same.
 */
private[caffe] final class Checkpoints(storage: Storage, model: Path, job: String) {
  import Checkpoints._

  private val folder = new Path(model.getParent, prefix(model) + job)

  /** Local files, in a manifest's order: model, state and, if there is one, the best model. */
  def write(files: Seq[LocalPath], manifest: Seq[ManifestFile] => Manifest): Unit = {
    val described = files.map(file => Manifest.describe(file, file.getFileName.toString))
    val made = manifest(described)
    val keep = described.map(_.name) :+ manifestName(made.iteration)
    try {
      files.foreach(file => storage.publish(file, new Path(folder, file.getFileName.toString)))
      storage.writeText(made.text, new Path(folder, manifestName(made.iteration)))
    } catch {
      case e: Throwable =>
        Try {
          remove(keep.contains(_))
          if (storage.list(folder).isEmpty) delete()
        }
        throw e
    }
    remove(iterationOf(_).exists(_ < made.iteration))
  }

  // Manifests first: without them the other files mean nothing.
  private def remove(which: String => Boolean): Unit = storage.list(folder).filter(file => which(file.getName))
    .sortBy(file => !file.getName.endsWith(Manifest.Suffix)).foreach(storage.delete(_))

  /** The newest of this job's checkpoints and snapshots (`snapshotBase`) that is whole. */
  def newest(snapshotBase: Path): Option[RestartPoint] =
    Manifest.newest(storage, Seq(new Path(folder, Name), snapshotBase), _.job == job)

  def delete(): Unit = storage.deleteFolder(folder)
}

private[caffe] object Checkpoints {
  /** Spark property: time between two checkpoints from which a failed run goes on. */
  val Interval = "spark.caffe.checkpointInterval"
  private val Name = "checkpoint"

  def baseName(iteration: Long): String = s"${Name}_iter_$iteration"

  private val numbered = s"${Name}_iter_(\\d+)".r

  private def iterationOf(file: String): Option[Long] =
    numbered.findFirstMatchIn(file).flatMap(found => Try(found.group(1).toLong).toOption)

  private def manifestName(iteration: Long): String = baseName(iteration) + Manifest.Suffix

  private def prefix(model: Path): String = s".${model.getName}.checkpoints-"

  /** What the checkpoints of all jobs that have left any beside `model` begin with. */
  def ofAllJobs(storage: Storage, model: Path): Seq[Path] =
    storage.folders(model.getParent).filter(_.getName.startsWith(prefix(model))).map(new Path(_, Name))
}
