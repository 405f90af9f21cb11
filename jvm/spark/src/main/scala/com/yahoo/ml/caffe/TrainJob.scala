package com.yahoo.ml.caffe

import java.io.{ByteArrayInputStream, ByteArrayOutputStream, ObjectInputStream, ObjectOutputStream, ObjectStreamClass}

import org.apache.hadoop.fs.Path

/**
 * All that a worker needs to know; made by the driver, equal for all workers. `arguments` is a hash of what the user asked
 * for, by which -resume finds the files of an earlier driver; `restart` counts the driver's own; `resumes`: there is an
 * earlier part of this job.
 */
private[caffe] final case class TrainJob(
    id: String,
    world: Int,
    solver: Array[Byte],
    validate: Boolean,
    secret: Array[Byte],
    group: Map[String, String],
    timeoutMillis: Long,
    executorCores: Int,
    model: String,
    snapshotBase: String,
    weights: Seq[String],
    state: String,
    rows: Seq[RowLayer],
    engineOptions: Map[String, String],
    hadoop: HadoopSettings,
    progress: Option[ProgressChannel.Address],
    memoryOverhead: Option[Long],
    stopping: Option[EarlyStopping],
    returnsModel: Boolean,
    arguments: String,
    checkpointMillis: Long,
    restart: Int,
    resumes: Boolean) {
  override def toString: String = s"TrainJob($id, $world workers)" // the secret stays out of logs

  def manifestOfModel: Path = new Path(model + Manifest.Suffix)

  def checkpoints(storage: Storage): Checkpoints = new Checkpoints(storage, new Path(model), id)
}

/** Seconds that a layer's passes took in an iteration, on the mean. */
private[caffe] final case class LayerTime(layer: String, forward: Double, backward: Double)

/** What a worker did. Seconds are of this attempt. `model` is what worker 0 did not write to a file. */
private[caffe] final case class WorkerReport(rank: Int, where: String, iterations: Long, records: Long, seconds: Double,
    dataSeconds: Double, communicationSeconds: Double, rounds: Seq[Round], points: Seq[TrainingPoint], memory: ProcessMemory,
    model: Option[Array[Byte]] = None, layers: Seq[LayerTime] = Nil)

/** Task results as bytes: independent of the serializer that the user chose for Spark. */
private[caffe] object Results {
  def encode(result: Either[Failure, AnyRef]): Array[Byte] = {
    val bytes = new ByteArrayOutputStream
    val out = new ObjectOutputStream(bytes)
    out.writeObject(result)
    out.close()
    bytes.toByteArray
  }

  def decode[A](bytes: Array[Byte]): Either[Failure, A] = {
    val in = new ObjectInputStream(new ByteArrayInputStream(bytes)) {
      override def resolveClass(description: ObjectStreamClass): Class[_] =
        try Class.forName(description.getName, false, getClass.getClassLoader)
        catch { case _: ClassNotFoundException => super.resolveClass(description) }
    }
    in.readObject().asInstanceOf[Either[Failure, A]]
  }
}
