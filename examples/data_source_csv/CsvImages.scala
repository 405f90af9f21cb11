package examples

import com.yahoo.ml.caffe.{Config, ImageDataSource}
import org.apache.spark.SparkContext
import org.apache.spark.rdd.RDD

/**
 * A source of users: gray pictures as lines of text, `label,pixel,pixel,...`, row by row, as data sets on the web often have
 * them. The layer says how large they are. A first line with names is left out.
 */
class CsvImages(conf: Config, layerId: Int, isTrain: Boolean) extends ImageDataSource(conf, layerId, isTrain) {
  override def makeRDD(sc: SparkContext): RDD[(String, String, Int, Int, Int, Boolean, Array[Byte])] = {
    val (c, h, w) = (channels, height, width) // fields of this object would send it along with each task
    sc.textFile(sourceFilePath).filter(line => line.headOption.exists(_.isDigit)).zipWithIndex().map { case (line, number) =>
      val values = line.split(',')
      if (values.length != 1 + c * h * w) {
        throw new IllegalArgumentException(s"line $number has ${values.length - 1} pixels, expected $c x $h x $w")
      }
      (number.toString, values.head, c, h, w, false, values.tail.map(_.trim.toInt.toByte))
    }
  }
}
