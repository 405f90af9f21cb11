package com.yahoo.ml.caffe

import scala.collection.mutable

/** The command line, before it means anything: which flags were given, with which values. */
private[caffe] final class Flags private (values: Map[String, String], val stray: Seq[String]) {
  def has(name: String): Boolean = values.contains(name)

  def text(name: String): Option[String] = values.get(name)

  def int(name: String): Option[Int] = values.get(name).map { value =>
    try value.trim.toInt
    catch {
      case _: NumberFormatException => throw new IllegalArgumentException(s"-$name needs a number, not '$value'")
    }
  }

  def list(name: String): Option[Array[String]] =
    values.get(name).map(_.split(',').map(_.trim).filter(_.nonEmpty))
}

private[caffe] object Flags {
  private val withValue = Seq("conf", "model", "output", "outputFormat", "features", "label", "snapshot", "weights",
    "devices", "connection", "clusterSize", "lmdb_partitions", "imageRoot", "labelFile", "captionFile", "captionLength",
    "imageCaptionDFDir", "vocabDir", "vocabSize", "embeddingDFDir", "precision")
  private val switches = Seq("train", "test", "persistent", "resize", "resume", "elastic")

  val known: Seq[String] = (withValue ++ switches).sorted

  def parse(args: Array[String]): Flags = {
    val values = mutable.LinkedHashMap.empty[String, String]
    val stray = mutable.Buffer.empty[String]
    val rest = args.iterator
    while (rest.hasNext) {
      val token = rest.next()
      if (!isFlag(token)) stray += token
      else {
        val name = token.stripPrefix("-").stripPrefix("-")
        if (switches.contains(name)) values(name) = ""
        else if (!withValue.contains(name)) throw new IllegalArgumentException(unknown(token, name))
        else if (!rest.hasNext) throw new IllegalArgumentException(s"-$name needs a value after it")
        else {
          val value = rest.next()
          if (isFlag(value) && known.contains(value.dropWhile(_ == '-'))) {
            throw new IllegalArgumentException(s"-$name needs a value after it, but the flag $value follows")
          }
          values(name) = value
        }
      }
    }
    new Flags(values.toMap, stray.toSeq)
  }

  def notYet(what: String): IllegalArgumentException =
    new IllegalArgumentException(s"$what is not supported by this version; leave it out")

  private def isFlag(token: String): Boolean = token.length > 1 && token.startsWith("-") && !token(1).isDigit

  private def unknown(token: String, name: String): String = {
    val lower = name.toLowerCase
    val close = known.filter { flag =>
      val other = flag.toLowerCase
      other.startsWith(lower) || lower.startsWith(other) || distance(lower, other) <= 2
    }
    val advice = if (close.nonEmpty) close else known
    s"unknown flag $token; ${if (close.nonEmpty) "did you mean" else "known are"} ${advice.map("-" + _).mkString(", ")}" +
      (if (close.nonEmpty) "?" else "")
  }

  /** Edit distance: insertions, deletions and replacements. */
  private[caffe] def distance(a: String, b: String): Int = {
    var row = (0 to b.length).toArray
    for (i <- 1 to a.length) {
      val next = new Array[Int](b.length + 1)
      next(0) = i
      for (j <- 1 to b.length) {
        val replaced = row(j - 1) + (if (a(i - 1) == b(j - 1)) 0 else 1)
        next(j) = math.min(replaced, math.min(row(j), next(j - 1)) + 1)
      }
      row = next
    }
    row(b.length)
  }
}
