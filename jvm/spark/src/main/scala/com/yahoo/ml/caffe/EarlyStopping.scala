package com.yahoo.ml.caffe

import org.apache.spark.SparkConf

/**
 * Stop once `monitor`, an output of the first test net, was not better for `rounds` validation rounds. Its values are
 * averaged.
 */
private[caffe] final case class EarlyStopping(monitor: String, rounds: Int, smallerIsBetter: Boolean)

private[caffe] object EarlyStopping {
  /** Spark property: validation rounds without anything better, after which training stops; 0: never. */
  val Rounds = "spark.caffe.earlyStoppingRounds"
  /** Spark property: the output that is watched. */
  val Monitor = "spark.caffe.monitor"

  def from(settings: SparkConf): Option[EarlyStopping] = {
    val monitor = settings.get(Monitor, "loss")
    Some(settings.getInt(Rounds, 0)).filter(_ > 0).map(EarlyStopping(monitor, _, smallerIsBetter(monitor)))
  }

  /** Losses shall become small, everything else large. */
  def smallerIsBetter(monitor: String): Boolean = monitor.toLowerCase.contains("loss") || monitor.toLowerCase.contains("error")
}

/** Follows validation rounds. */
private[caffe] final class StoppingRule(settings: EarlyStopping) {
  private var best = Double.NaN
  private var since = 0

  def judge(outputs: Seq[(String, Array[Float])]): StoppingRule.Verdict = {
    val values = outputs.collectFirst { case (name, floats) if name == settings.monitor => floats }.getOrElse(
      throw new IllegalArgumentException(s"early stopping watches ${settings.monitor}, but the validation net's outputs are " +
        ServingNet.list(outputs.map(_._1))))
    val value = values.map(_.toDouble).sum / values.length
    val better = best.isNaN || (if (settings.smallerIsBetter) value < best else value > best)
    if (better && !value.isNaN) {
      best = value
      since = 0
      StoppingRule.Better
    } else {
      since += 1
      if (since >= settings.rounds) StoppingRule.Stop else StoppingRule.GoOn
    }
  }

  override def toString: String = s"${settings.monitor} was not better than ${Training.short(best)} for $since round(s)"
}

private[caffe] object StoppingRule {
  sealed trait Verdict
  case object Better extends Verdict
  case object GoOn extends Verdict
  case object Stop extends Verdict
}
