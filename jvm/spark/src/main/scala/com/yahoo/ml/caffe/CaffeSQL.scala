package com.yahoo.ml.caffe

import java.util.concurrent.ConcurrentHashMap

import org.apache.spark.TaskContext
import org.apache.spark.sql.api.java.UDF2
import org.apache.spark.sql.types._
import org.apache.spark.sql.{Row, SparkSession}

import scala.collection.mutable

/**
 * The SQL function `caffe_predict(model, input)`: what the CaffeModel saved at the path `model` answers to `input`, as the
 * values of its first output. The input fills the network's first input; it is whatever a CaffeModel takes. A null gives
 * null. Rows are answered one by one: for many rows CaffeModel.transform is faster.
 *
 * Each task looks once whether the files are still those that this JVM has read, and reads a model anew that was overwritten.
 */
object CaffeSQL {
  val Function = "caffe_predict"

  /** Makes the function known in this session. */
  def register(spark: SparkSession): Unit =
    spark.udf.register(Function, new Predict(new HadoopSettings(spark.sparkContext.hadoopConfiguration)),
      ArrayType(FloatType, containsNull = false))

  private final class Predict(hadoop: HadoopSettings) extends UDF2[String, Any, scala.collection.Seq[Float]] {
    override def call(model: String, input: Any): scala.collection.Seq[Float] =
      if (model == null) throw new IllegalArgumentException(s"$Function: the model's path is null")
      else if (input == null) null
      else Loaded.of(model, hadoop).answer(input)
  }

  /** A model as this JVM has read it once. `version` is another one as soon as a file changes. */
  private final class Loaded(path: String, val version: String, model: CaffeModel) {
    private val jobs = new ConcurrentHashMap[DataType, PredictJob]
    private val idle = mutable.Map.empty[DataType, List[Predictor]]
    private var outdated = false

    def answer(input: Any): scala.collection.Seq[Float] = {
      val kind = typeOf(input)
      val predictor = take(kind)
      val answered =
        try predictor.answer(IndexedSeq(Row(input)), _ => s"$Function('$path')").head
        catch {
          case e: Throwable =>
            predictor.close()
            throw e
        }
      give(kind, predictor)
      answered.map(_.head.asInstanceOf[scala.collection.Seq[Float]]).orNull
    }

    private def take(kind: DataType): Predictor = takeIdle(kind).getOrElse {
      val job = jobs.computeIfAbsent(kind, k => one(k))
      val cores = Option(TaskContext.get()).fold(1)(_.cpus())
      new Predictor(job, job.opened(() => model.data, model.data.hdf5, cores), model.data.mean)
    }

    private def takeIdle(kind: DataType): Option[Predictor] = idle.synchronized {
      val waiting = idle.getOrElse(kind, Nil)
      idle(kind) = waiting.drop(1)
      waiting.headOption
    }

    private def give(kind: DataType, predictor: Predictor): Unit = idle.synchronized {
      if (outdated) predictor.close() else idle(kind) = predictor :: idle.getOrElse(kind, Nil)
    }

    /** There is a newer one: tasks that use this one may go on, and then it is freed. */
    def retire(): Unit = idle.synchronized {
      outdated = true
      idle.values.flatten.foreach(_.close())
      idle.clear()
    }

    private def one(kind: DataType): PredictJob = {
      val single = model.copy(org.apache.spark.ml.param.ParamMap.empty).setBatchSize(1).setVectorOutput(false)
        .setPredictionCol("")
      val first = single.inputNames.head
      val column = single.inputColumns(single.inputNames.toSeq).find(_._1 == first).fold(single.getFeaturesCol)(_._2)
      single.job(StructType(Seq(StructField(column, kind))))
    }

    private def typeOf(input: Any): DataType = input match {
      case _: Array[Byte] => BinaryType
      case _: org.apache.spark.ml.linalg.Vector => org.apache.spark.ml.linalg.SQLDataTypes.VectorType
      case _: scala.collection.Seq[_] => ArrayType(DoubleType)
      case row: Row => row.schema
      case _: java.lang.Number | _: java.lang.Boolean => DoubleType
      case other => throw new IllegalArgumentException(s"$Function: the input is a ${other.getClass.getSimpleName}; a network " +
        s"takes ${InputReader.Readable}")
    }
  }

  private object Loaded {
    private val models = mutable.Map.empty[String, Loaded]
    private val ofTasks = new ConcurrentHashMap[(Long, String), Loaded]

    def of(path: String, hadoop: HadoopSettings): Loaded = Option(TaskContext.get()).fold(current(path, hadoop)) { task =>
      val key = (task.taskAttemptId(), path)
      Option(ofTasks.get(key)).getOrElse {
        val loaded = current(path, hadoop)
        ofTasks.put(key, loaded)
        task.addTaskCompletionListener[Unit](_ => ofTasks.remove(key))
        loaded
      }
    }

    /** Read while nobody else does: a model is there once. */
    private def current(path: String, hadoop: HadoopSettings): Loaded = models.synchronized {
      val storage = hadoop.storage
      val version = RemoteFiles.named(storage, path, "model").key
      val known = models.get(path)
      known.filter(_.version == version).getOrElse {
        val read = new Loaded(path, version, CaffeModel.readFrom(path, storage))
        models(path) = read
        known.foreach(_.retire())
        read
      }
    }
  }
}
