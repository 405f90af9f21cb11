package com.yahoo.ml.caffe

import com.codahale.metrics.MetricRegistry
import org.scalatest.funsuite.AnyFunSuite

class TrainingOutputSuite extends AnyFunSuite {
  private val point = TrainingPoint(40, 0.25, 1e-5, 1234.5, 0.01, 0.2)

  test("points and rounds travel as lines") {
    assert(TrainingPoint.parse(point.line).contains(point))
    assert(TrainingPoint.parse("Iteration 40").isEmpty && TrainingPoint.parse("@point x").isEmpty)
    val round = Round.parseLine(Round(7, Seq("accuracy" -> Array(0.5f), "loss" -> Array(1f, 2f))).line).get
    assert(round.iteration == 7 && round.outputs.map(o => (o._1, o._2.toSeq)) == Seq("accuracy" -> Seq(0.5f), "loss" -> Seq(1f, 2f)))
    assert(Round.parseLine("rounds").isEmpty)
  }

  test("Spark's metrics follow the newest point") {
    val registry = new MetricRegistry
    TrainingMetrics.register(registry)
    def value(name: String): Double = registry.getGauges.get(name).getValue.asInstanceOf[Double]
    TrainingMetrics.current = None
    assert(value("loss").isNaN)
    TrainingMetrics.current = Some(point)
    assert(value("iteration") == 40 && value("loss") == 0.25 && value("images_per_second") == 1234.5)
    assert(value("waiting_for_data") == 0.01 && value("waiting_for_workers") == 0.2)
    val before = (value("waiting_for_data_seconds"), value("waiting_for_workers_seconds"))
    TrainingMetrics.waited(0.5, 2)
    assert(math.abs(value("waiting_for_data_seconds") - before._1 - 0.5) < 1e-6)
    assert(math.abs(value("waiting_for_workers_seconds") - before._2 - 2) < 1e-6)
  }

  private def verdicts(rule: StoppingRule, values: Double*): Seq[StoppingRule.Verdict] =
    values.map(v => rule.judge(Seq("accuracy" -> Array(v.toFloat))))

  test("early stopping counts rounds without anything better") {
    import StoppingRule._
    val rising = new StoppingRule(EarlyStopping("accuracy", 2, smallerIsBetter = false))
    assert(verdicts(rising, 0.1, 0.3, 0.2, 0.4, 0.4, 0.4) == Seq(Better, Better, GoOn, Better, GoOn, Stop))
    val falling = new StoppingRule(EarlyStopping("accuracy", 1, smallerIsBetter = true))
    assert(verdicts(falling, 0.5, 0.4, 0.4) == Seq(Better, Better, Stop))
    val lost = new StoppingRule(EarlyStopping("accuracy", 2, smallerIsBetter = true))
    assert(verdicts(lost, Double.NaN, 0.4, Double.NaN) == Seq(GoOn, Better, GoOn))
    assert(EarlyStopping.smallerIsBetter("loss") && !EarlyStopping.smallerIsBetter("accuracy"))
    val unknown = new StoppingRule(EarlyStopping("top5", 1, smallerIsBetter = false))
    assert(intercept[IllegalArgumentException](unknown.judge(Seq("loss" -> Array(1f)))).getMessage.contains("top5"))
  }

  test("a report survives what a run can give: no points, values that are no numbers, names with brackets") {
    val layers = Seq(LayerTime("in<put", 0, 0), LayerTime("ip<1>", 0.0015, 0.0045))
    val worker = WorkerReport(0, "worker 0 on host <a>", 10, 640, 0, 0, 0, Nil, Nil, ProcessMemory(0, 0), layers = layers)
    val page = TrainingReport("a & b", Nil, Seq(Round(1, Seq("loss" -> Array(Float.NaN)))), Seq(worker), Seq("Net" -> "name: \"<x>\"")).html
    assert(page.contains("a &amp; b") && page.contains("host &lt;a&gt;") && page.contains("&quot;&lt;x&gt;&quot;"))
    assert(page.contains("no values") && !page.contains("NaN") && !page.contains("in&lt;put"))
    assert(page.contains("<td>ip&lt;1&gt;</td><td>1.500</td><td>4.500</td><td>100.0 %</td>"))
  }
}
