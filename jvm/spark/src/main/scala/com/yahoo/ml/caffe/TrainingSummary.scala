package com.yahoo.ml.caffe

import org.apache.spark.sql.types.{ArrayType, DoubleType, FloatType, LongType, StructField, StructType}
import org.apache.spark.sql.{DataFrame, Row, SparkSession}

import scala.jdk.CollectionConverters._

/** How the training of a CaffeModel went. */
class TrainingSummary private[caffe] (trained: Trained) {
  private def session: SparkSession = SparkSession.active

  /** Iterations that were done; fewer than max_iter where training stopped early. */
  def iterations: Long = trained.iterations

  /**
   * A row for each line that was displayed: iteration, loss, learning_rate, images_per_second, and the shares of time that
   * worker 0 spent waiting_for_data and waiting_for_workers.
   */
  def curve: DataFrame = TrainingSummary.curve(session, trained.points)

  /** A row for each validation round: iteration, and an array of float for each output of the network. */
  def validation: DataFrame = {
    val outputs = trained.rounds.headOption.toSeq.flatMap(_.outputs.map(_._1))
    val columns = outputs.map(StructField(_, ArrayType(FloatType, containsNull = false), nullable = false))
    val rows = trained.rounds.map(round => Row.fromSeq(round.iteration +: round.outputs.map(_._2.toSeq)))
    session.createDataFrame(rows.asJava, StructType(TrainingSummary.iteration +: columns))
  }

  /** Images per second, and how evenly the workers were used. */
  def lines: Seq[String] = trained.summary

  override def toString: String = lines.mkString("\n")
}

private[caffe] object TrainingSummary {
  private val iteration = StructField("iteration", LongType, nullable = false)

  def curve(session: SparkSession, points: Seq[TrainingPoint]): DataFrame = {
    val columns = TrainingPoint.names.map(StructField(_, DoubleType, nullable = false))
    session.createDataFrame(points.map(p => Row.fromSeq(p.iteration +: p.values.map(_._2))).asJava, StructType(iteration +: columns))
  }

  /** A row for each validation round; a column of float arrays for each output of the first test net. */
  def rounds(session: SparkSession, all: Seq[Round]): DataFrame = {
    val names = all.headOption.map(_.outputs.map(_._1)).getOrElse(Nil)
    val columns = names.map(StructField(_, ArrayType(FloatType, containsNull = false), nullable = false))
    session.createDataFrame(all.map(round => Row.fromSeq(round.outputs.map(_._2.toSeq))).asJava, StructType(columns))
  }
}
