package com.yahoo.ml.caffe.tools

import com.yahoo.ml.caffe.Storage
import org.apache.spark.sql.{DataFrame, SQLContext}

/**
 * The words of captions and their numbers: 0 begins and ends a sentence, 1 is every word that is not known, and from 2 on
 * stand the words, the most frequent first; equally frequent ones in alphabetical order.
 */
private[caffe] class Vocab(@transient private val sqlContext: SQLContext) extends Serializable {
  private var words: Vector[String] = Vector.empty

  /** From a column of captions; of all words, or of the `vocabSize` most frequent ones. */
  def genFromData(df: DataFrame, column: String, vocabSize: Int = Vocab.AllWords): Unit = {
    val counts = df.select(column).rdd.filter(!_.isNullAt(0)).flatMap(row => Conversions.sentence2Words(row.getString(0)))
      .map(word => (word, 1L)).reduceByKey(_ + _).collect()
    val sorted = counts.sortBy { case (word, count) => (-count, word) }.map(_._1).toVector
    words = if (vocabSize < 0) sorted else sorted.take(vocabSize)
  }

  def save(path: String): Unit = {
    val storage = new Storage(sqlContext.sparkSession.sparkContext.hadoopConfiguration)
    storage.writeText(Vocab.text(words), storage.resolve(path))
  }

  /** What `save` wrote; or a folder of Spark's text files. */
  def load(path: String): Unit = {
    val storage = new Storage(sqlContext.sparkSession.sparkContext.hadoopConfiguration)
    val file = storage.existing(path, "the vocabulary")
    val parts = storage.list(file).filterNot(part => "._".contains(part.getName.head)).sortBy(_.getName)
    words = Vocab.parse(parts.map(storage.readText).mkString, file.toString)
  }

  /** The words, the one with number 2 first. */
  def all: Vector[String] = words

  def word2indexMap(): Map[String, Int] =
    words.zipWithIndex.map { case (word, i) => word -> (i + Vocab.VALID_TOKEN_INDEX) }.toMap +
      (Vocab.UNKNOWN_TOKEN -> Vocab.UNKNOWN_ID)

  def index2wordMap(): Map[Int, String] = word2indexMap().map(_.swap)
}

private[caffe] object Vocab {
  val UNKNOWN_TOKEN = "UNK"
  val UNKNOWN_ID = 1
  /** Before the first and after the last word. */
  val START_END_ID = 0
  /** The number of the first word. */
  val VALID_TOKEN_INDEX = 2
  /** What stands where there is no word. */
  val NO_TOKEN: Int = -1
  private val AllWords = -1

  /** Line i of the file (counted from 0) is the word with number i + 1; the first is UNK. */
  def text(words: Seq[String]): String = (UNKNOWN_TOKEN +: words).mkString("", "\n", "\n")

  /** What `text` made; `name` is the file's, for errors. */
  def parse(text: String, name: String): Vector[String] = {
    val lines = text.linesIterator.toVector
    if (lines.headOption != Some(UNKNOWN_TOKEN)) {
      throw new IllegalArgumentException(s"$name is no vocabulary: its first line is not $UNKNOWN_TOKEN")
    }
    lines.tail
  }
}
