package com.yahoo.ml.caffe.tools

import com.yahoo.ml.caffe.{Config, ScalaCheck}
import org.apache.spark.SparkContext
import org.apache.spark.rdd.RDD
import org.apache.spark.sql.Row
import org.apache.spark.sql.types.{BinaryType, IntegerType, StringType, StructField, StructType}

import scala.util.Try

/** Image files to a DataFrame: -imageRoot, -labelFile (lines of file name, label and, if wanted, id), -output, -outputFormat. */
object Binary2DataFrame extends java.io.Serializable {
  // Lazy, so that another Scala can load the object and say what is wrong.
  lazy val schema: StructType = StructType(Seq(StructField("SampleID", StringType, nullable = false),
    StructField("label", IntegerType, nullable = false), StructField("data", BinaryType, nullable = false)))

  def main(args: Array[String]): Unit = {
    ScalaCheck.orExit("Binary2DataFrame")
    Tool.main("Binary2DataFrame", args)((sc, conf) => Tool.writeRows(sc, conf, schema)(new Binary2DataFrame(sc, conf).makeRDD()))
  }
}

class Binary2DataFrame(@transient val sc: SparkContext, conf: Config) extends java.io.Serializable {
  /** Rows of `schema`; without an id a row has the name of its file. */
  def makeRDD(): RDD[Row] = {
    val images = Tool.imageReader(sc, conf)
    Tool.labelLines(sc, conf, words = 2).map { words =>
      val label = Try(words(1).toInt).getOrElse(
        throw new IllegalArgumentException(s"the label of ${words(0)} is '${words(1)}', not a whole number"))
      Row(words.lift(2).getOrElse(words(0)), label, images.read(words(0)))
    }
  }
}
