package com.yahoo.ml.caffe.tools

import com.yahoo.ml.caffe.{Config, LmdbRDD, ScalaCheck}
import org.apache.hadoop.io.BytesWritable
import org.apache.spark.SparkContext
import org.apache.spark.rdd.RDD

/** An LMDB (-imageRoot) to a SequenceFile: -lmdb_partitions, -output. */
object LMDB2Sequence extends java.io.Serializable {
  def main(args: Array[String]): Unit = {
    ScalaCheck.orExit("LMDB2Sequence")
    Tool.main("LMDB2Sequence", args) { (sc, conf) =>
      new LMDB2Sequence(sc, conf).makeRDD().saveAsSequenceFile(Tool.outputPath(sc, conf))
    }
  }
}

class LMDB2Sequence(@transient val sc: SparkContext, conf: Config) extends java.io.Serializable {
  /** ((id, label, channels, height, width, encoded), bytes) */
  def makeRDD(): RDD[(BytesWritable, BytesWritable)] =
    new LmdbRDD(sc, Tool.required(conf.imageRoot, "-imageRoot"), conf.lmdb_partitions).map {
      case (id, label, channels, height, width, encoded, data) =>
        (Tool.key((id, label, channels, height, width, encoded)), new BytesWritable(data))
    }
}
