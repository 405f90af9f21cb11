package com.yahoo.ml.caffe.tools

import com.yahoo.ml.caffe.{Config, LmdbRDD, ScalaCheck}
import org.apache.spark.SparkContext
import org.apache.spark.rdd.RDD
import org.apache.spark.sql.Row
import org.apache.spark.sql.types.{BinaryType, BooleanType, IntegerType, StringType, StructField, StructType}

/** An LMDB (-imageRoot) to a DataFrame: -lmdb_partitions, -output, -outputFormat. ImageDataFrame reads it as it is. */
object LMDB2DataFrame extends java.io.Serializable {
  // Lazy, so that another Scala can load the object and say what is wrong.
  lazy val schema: StructType = StructType(Seq(StructField("id", StringType), StructField("label", StringType, nullable = false),
    StructField("channels", IntegerType), StructField("height", IntegerType), StructField("width", IntegerType),
    StructField("encoded", BooleanType), StructField("data", BinaryType, nullable = false)))

  def main(args: Array[String]): Unit = {
    ScalaCheck.orExit("LMDB2DataFrame")
    Tool.main("LMDB2DataFrame", args)((sc, conf) => Tool.writeRows(sc, conf, schema)(new LMDB2DataFrame(sc, conf).makeRDD()))
  }
}

class LMDB2DataFrame(@transient val sc: SparkContext, conf: Config) extends java.io.Serializable {
  def makeRDD(): RDD[Row] =
    new LmdbRDD(sc, Tool.required(conf.imageRoot, "-imageRoot"), conf.lmdb_partitions).map(Row.fromTuple(_))
}
