package com.yahoo.ml.caffe

import java.util.Locale

/** One HTML page about a training run, without anything outside of it: curves, workers, validation, configuration. */
private[caffe] final case class TrainingReport(title: String, points: Seq[TrainingPoint], rounds: Seq[Round],
    workers: Seq[WorkerReport], configuration: Seq[(String, String)]) {
  import TrainingReport._

  def html: String = {
    val losses = curve("Loss", points.map(p => (p.iteration, p.loss)))
    val speed = curve("Images per second", points.map(p => (p.iteration, p.imagesPerSecond)))
    val rates = curve("Learning rate", points.map(p => (p.iteration, p.learningRate)))
    val names = rounds.headOption.toSeq.flatMap(_.outputs).collect { case (name, values) if values.length == 1 => name }
    val validation = names.map { name =>
      curve(s"Validation: $name", rounds.map(r => (r.iteration, r.outputs.find(_._1 == name).get._2.head.toDouble)))
    }
    s"""<!DOCTYPE html>
       |<html lang="en"><head><meta charset="utf-8"><title>${escape(title)}</title><style>$Style</style></head><body>
       |<h1>${escape(title)}</h1>
       |<p>${escape(headline)}</p>
       |<div class="curves">${(Seq(losses) ++ validation ++ Seq(speed, rates)).mkString("\n")}</div>
       |<h2>Workers</h2>
       |$workerTable
       |$layerTable
       |<h2>Configuration</h2>
       |${configuration.map { case (name, text) => s"<h3>${escape(name)}</h3><pre>${escape(text)}</pre>" }.mkString("\n")}
       |</body></html>
       |""".stripMargin
  }

  private def headline: String = {
    val images = workers.map(_.records).sum
    val seconds = (0.0 +: workers.map(_.seconds)).max
    val rate = if (seconds > 0) String.format(Locale.ROOT, ", %.1f images/s", Double.box(images / seconds)) else ""
    s"${workers.headOption.fold(0L)(_.iterations)} iterations on $images images by ${workers.length} worker(s)$rate"
  }

  private def share(part: Double, whole: Double): String =
    if (whole > 0) String.format(Locale.ROOT, "%.1f %%", Double.box(100 * part / whole)) else ""

  private def workerTable: String =
    table(Seq("worker", "images", "seconds", "waiting for data", "waiting for other workers"), workers.map { w =>
      Seq(w.where, w.records.toString, String.format(Locale.ROOT, "%.1f", Double.box(w.seconds)),
        share(w.dataSeconds, w.seconds), share(w.communicationSeconds, w.seconds))
    })

  private def layerTable: String = {
    def ms(seconds: Double) = String.format(Locale.ROOT, "%.3f", Double.box(1000 * seconds))
    val layers = workers.headOption.toSeq.flatMap(_.layers).filter(l => l.forward + l.backward > 0)
    if (layers.isEmpty) ""
    else {
      val all = layers.map(l => l.forward + l.backward).sum
      "<h2>Layers</h2><p>Milliseconds of an iteration of worker 0. Layers that run as part of another have their time there.</p>" +
        table(Seq("layer", "forward", "backward", "share"), layers.map { l =>
          Seq(l.layer, ms(l.forward), ms(l.backward), share(l.forward + l.backward, all))
        })
    }
  }

  private def table(head: Seq[String], rows: Seq[Seq[String]]): String = {
    def line(cells: Seq[String], tag: String) = cells.map(c => s"<$tag>${escape(c)}</$tag>").mkString("<tr>", "", "</tr>")
    s"<table>${line(head, "th")}${rows.map(line(_, "td")).mkString}</table>"
  }
}

private[caffe] object TrainingReport {
  private val (width, height, left, bottom) = (420, 200, 60, 24)
  private val Style = "body{font:14px sans-serif;margin:2em;max-width:70em}.curves{display:flex;flex-wrap:wrap;gap:1em}" +
    "figure{margin:0}figcaption{font-weight:bold}svg{background:#fafafa}text{font-size:11px;fill:#555}polyline{fill:none;" +
    "stroke:#0b62a4;stroke-width:1.5}line{stroke:#bbb}table{border-collapse:collapse}td,th{border:1px solid #ccc;" +
    "padding:.3em .7em;text-align:right}td:first-child{text-align:left}pre{background:#f4f4f4;padding:1em;overflow:auto}"

  def escape(text: String): String =
    text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;")

  /** An SVG picture of values over iterations; values that are no numbers are left out. */
  def curve(name: String, values: Seq[(Long, Double)]): String = {
    val finite = values.filter { case (_, y) => !y.isNaN && !y.isInfinite }
    val inside =
      if (finite.isEmpty) s"""<text x="$left" y="${height / 2}">no values</text>"""
      else {
        val (x0, x1) = (finite.map(_._1).min, finite.map(_._1).max)
        val (y0, y1) = (finite.map(_._2).min, finite.map(_._2).max)
        def x(i: Long) = left + (i - x0).toDouble / math.max(1L, x1 - x0) * (width - left - 10)
        def y(v: Double) = 10 + (y1 - v) / (if (y1 > y0) y1 - y0 else 1) * (height - bottom - 20)
        val line = finite.map { case (i, v) => String.format(Locale.ROOT, "%.1f,%.1f", Double.box(x(i)), Double.box(y(v))) }
        val axis = height - bottom
        s"""<line x1="$left" y1="$axis" x2="$width" y2="$axis"/><line x1="$left" y1="0" x2="$left" y2="$axis"/>
           |<text x="4" y="16">${Training.short(y1)}</text><text x="4" y="${axis - 4}">${Training.short(y0)}</text>
           |<text x="$left" y="${height - 6}">$x0</text><text x="${width - 50}" y="${height - 6}">$x1</text>
           |<polyline points="${line.mkString(" ")}"/>""".stripMargin
      }
    s"""<figure><figcaption>${escape(name)}</figcaption><svg width="$width" height="$height" role="img">$inside</svg></figure>"""
  }
}
