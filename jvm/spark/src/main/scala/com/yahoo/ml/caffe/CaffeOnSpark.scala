package com.yahoo.ml.caffe

import org.apache.spark.SparkContext
import org.apache.spark.ml.linalg.{Vector, Vectors}
import org.apache.spark.sql.expressions.UserDefinedFunction
import org.apache.spark.sql.functions.udf
import org.apache.spark.sql.{DataFrame, SQLContext, SparkSession}
import org.apache.spark.storage.StorageLevel

/** Trains networks on the executors of a Spark application, and runs them over data there. */
class CaffeOnSpark(@transient val sc: SparkContext) extends java.io.Serializable {
  @transient private val session: SparkSession = SparkSession.builder().config(sc.getConf).getOrCreate()

  @transient val sqlContext: SQLContext = session.sqlContext

  /** The first value of an array, as double. */
  val floatarray2doubleUDF: UserDefinedFunction = udf((values: scala.collection.Seq[Float]) => values.head.toDouble)

  /** An array as a dense vector of spark.ml. */
  val floatarray2doublevectorUDF: UserDefinedFunction =
    udf((values: scala.collection.Seq[Float]) => Vectors.dense(values.map(_.toDouble).toArray): Vector)

  @transient private var summary: Seq[String] = Nil
  @transient private var points: Seq[TrainingPoint] = Nil

  /** Lines about the last training run: images per second, and how evenly the workers were used. */
  def trainingSummary: Seq[String] = summary

  /**
   * The last training run, a row for each line that it displayed: iteration, loss, learning_rate, images_per_second, and the
   * shares of time that worker 0 spent waiting_for_data and waiting_for_workers.
   */
  def trainingCurve: DataFrame = TrainingSummary.curve(session, points)

  private def remember(lines: Seq[String], displayed: Seq[TrainingPoint]): Unit = {
    summary = lines
    points = displayed
  }

  /** Trains on all workers; the model is written where the source's configuration says. */
  def train[T1, T2](source: DataSource[T1, T2]): Unit = {
    CaffeOnSpark.requireSource(source)
    val trained = new Trainer(sc, source.conf, validate = false, Seq(source), stopping = None).run()
    remember(trained.summary, trained.points)
  }

  /**
   * The same, with a validation round every test_interval iterations. One row per round; a column of float arrays for each
   * output of the first test net.
   */
  def trainWithValidation[T1, T2](sourceTrain: DataSource[T1, T2], sourceValidation: DataSource[T1, T2]): DataFrame = {
    CaffeOnSpark.requireSource(sourceTrain)
    CaffeOnSpark.requireSource(sourceValidation)
    val trainer = new Trainer(sc, sourceTrain.conf, validate = true, Seq(sourceTrain, sourceValidation),
      EarlyStopping.from(sc.getConf))
    val trained = trainer.run()
    remember(trained.summary, trained.points)
    TrainingSummary.rounds(session, trained.rounds).persist(StorageLevel.DISK_ONLY)
  }

  /** The mean of every output of the test net over all records of the source. */
  def test[T1, T2](source: DataSource[T1, T2]): Map[String, Seq[Double]] = {
    CaffeOnSpark.requireSource(source)
    source.conf.isTest = true
    new Inference(sc, source.conf, source).test()
  }

  /** One row per record: SampleID, and a column of float arrays for each blob that the configuration names. */
  def features[T1, T2](source: DataSource[T1, T2]): DataFrame = {
    CaffeOnSpark.requireSource(source)
    source.conf.isTest = false
    new Inference(sc, source.conf, source).features(session)
  }
}

/**
 * The program for spark-submit. To say what is wrong, it must also be loaded by another Scala: so little else stands here, it is
 * Java's Serializable and not Scala 2.12's, and no member of the class takes or gives a case class, not even a private one.
 */
object CaffeOnSpark extends java.io.Serializable {
  def main(args: Array[String]): Unit = {
    ScalaCheck.orExit("CaffeOnSpark")
    val code = CommandLine.run(args)
    if (code != 0) System.exit(code)
  }

  private def requireSource(source: DataSource[_, _]): Unit =
    if (source == null) throw new IllegalArgumentException("the data source is null")
}
