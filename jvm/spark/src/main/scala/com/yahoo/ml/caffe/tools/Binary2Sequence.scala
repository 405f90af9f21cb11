package com.yahoo.ml.caffe.tools

import com.yahoo.ml.caffe.{Config, ScalaCheck}
import org.apache.hadoop.io.BytesWritable
import org.apache.spark.SparkContext
import org.apache.spark.rdd.RDD

/** Image files to a SequenceFile: -imageRoot, -labelFile (lines of file name and label), -output. */
object Binary2Sequence extends java.io.Serializable {
  def main(args: Array[String]): Unit = {
    ScalaCheck.orExit("Binary2Sequence")
    Tool.main("Binary2Sequence", args) { (sc, conf) =>
      new Binary2Sequence(sc, conf).makeRDD().saveAsSequenceFile(Tool.outputPath(sc, conf))
    }
  }
}

class Binary2Sequence(@transient val sc: SparkContext, conf: Config) extends java.io.Serializable {
  /** ((file name, label), bytes of the file). A file that cannot be read is an error. */
  def makeRDD(): RDD[(BytesWritable, BytesWritable)] = {
    val images = Tool.imageReader(sc, conf)
    Tool.labelLines(sc, conf, words = 2).map { words =>
      (Tool.key((words(0), words(1))), new BytesWritable(images.read(words(0))))
    }
  }
}
