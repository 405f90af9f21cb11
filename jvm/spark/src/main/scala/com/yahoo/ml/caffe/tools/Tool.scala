package com.yahoo.ml.caffe.tools

import java.io.{ByteArrayOutputStream, IOException, ObjectOutputStream}

import com.yahoo.ml.caffe.{Config, Failures, HadoopSettings, Storage}
import org.apache.hadoop.fs.Path
import org.apache.hadoop.io.BytesWritable
import org.apache.spark.rdd.RDD
import org.apache.spark.sql.types.StructType
import org.apache.spark.sql.{Row, SparkSession}
import org.apache.spark.{SparkConf, SparkContext}

import scala.util.control.NonFatal

/** What the programs of this package share. */
private[tools] object Tool {
  /** Runs a program with Spark; a mistake is one line on stderr and exit code 1. */
  def main(name: String, args: Array[String])(body: (SparkContext, Config) => Unit): Unit = {
    val code = run(name, args)(body)
    if (code != 0) System.exit(code)
  }

  def run(name: String, args: Array[String])(body: (SparkContext, Config) => Unit): Int = {
    var context: Option[SparkContext] = None
    try {
      val session = SparkSession.builder().config(new SparkConf().setIfMissing("spark.app.name", name)).getOrCreate()
      context = Some(session.sparkContext)
      body(session.sparkContext, new Config(session.sparkContext, args))
      0
    } catch {
      case e: Throwable if NonFatal(e) || e.isInstanceOf[LinkageError] =>
        System.err.println(s"$name: error: ${Failures.oneLine(e)}")
        System.err.flush()
        1
    } finally context.foreach(_.stop())
  }

  def required(value: String, flag: String): String =
    if (value == null || value.isEmpty) throw new IllegalArgumentException(s"$flag is missing") else value

  /** The words of each line of -labelFile that is not empty. */
  def labelLines(sc: SparkContext, conf: Config, words: Int): RDD[Array[String]] = {
    val file = new Storage(sc.hadoopConfiguration).existing(required(conf.labelFile, "-labelFile"), "-labelFile")
    sc.textFile(file.toString, math.max(conf.clusterSize, 1)).map(_.trim).filter(_.nonEmpty).map { line =>
      val parts = line.split("\\s+")
      if (parts.length < words) {
        throw new IllegalArgumentException(s"the line '$line' of $file has ${parts.length} word(s), expected at least $words")
      }
      parts
    }
  }

  /** Reads files below -imageRoot in tasks. */
  def imageReader(sc: SparkContext, conf: Config): ImageReader =
    new ImageReader(new Storage(sc.hadoopConfiguration).resolve(required(conf.imageRoot, "-imageRoot")).toString,
      new HadoopSettings(sc.hadoopConfiguration))

  // Java's Serializable, not Scala 2.12's: a program must load with another Scala to say so (CaffeOnSpark.scala).
  final class ImageReader(root: String, hadoop: HadoopSettings) extends java.io.Serializable {
    def read(name: String): Array[Byte] = {
      val path = new Path(root, name)
      try hadoop.storage.readBytes(path)
      catch { case e: IOException => throw new IOException(s"the image $path cannot be read: ${Failures.describe(e)}", e) }
    }
  }

  /** A key of CaffeOnSpark's SequenceFiles; SerializedKey reads it. */
  def key(tuple: Product with Serializable): BytesWritable = {
    val bytes = new ByteArrayOutputStream
    val out = new ObjectOutputStream(bytes)
    out.writeObject(tuple)
    out.close()
    new BytesWritable(bytes.toByteArray)
  }

  /** To -output, which is looked at first, in -outputFormat. */
  def writeRows(sc: SparkContext, conf: Config, schema: StructType)(rows: => RDD[Row]): Unit = {
    val session = SparkSession.builder().config(sc.getConf).getOrCreate()
    val output = outputPath(sc, conf)
    session.createDataFrame(rows, schema).write.format(conf.outputFormat).save(output)
  }

  def outputPath(sc: SparkContext, conf: Config): String = {
    val storage = new Storage(sc.hadoopConfiguration)
    val path = storage.resolve(conf.outputPath)
    if (storage.exists(path)) throw new IllegalArgumentException(s"-output $path exists already; remove it or name another")
    path.toString
  }
}
