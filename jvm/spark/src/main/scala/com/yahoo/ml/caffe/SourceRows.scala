package com.yahoo.ml.caffe

import com.yahoo.ml.caffe.RowRecord.{Encoded, Field, Floats, Pixels}
import com.yahoo.ml.jcaffe.{FloatBlob, Mat, MatVector}
import org.apache.spark.SparkContext
import org.apache.spark.rdd.RDD
import org.slf4j.LoggerFactory

/**
 * The rows of a source that somebody else wrote, through the functions that every source has: on an executor each sample
 * is offered, collected by nextBatch, and taken out of the holder. Batches are of one sample, so that none is left over.
 */
private[caffe] object SourceRows {
  private val log = LoggerFactory.getLogger(classOf[DataSource[_, _]])

  def rows[T1, T2](source: DataSource[T1, T2], sc: SparkContext): RDD[Array[Byte]] = {
    val samples = source.makeRDD(sc)
    if (samples == null) {
      throw new IllegalStateException(s"${Nets.describe(source.layerParameter)}: makeRDD of ${source.getClass.getName} gave null")
    }
    samples.mapPartitions { part =>
      val collector = new Collector(source)
      part.flatMap(collector.row(_))
    }
  }

  private final class Collector[T1, T2](source: DataSource[T1, T2]) {
    if (!source.init()) {
      throw new IllegalStateException(s"${source.getClass.getName} says that its initialisation failed")
    }
    source.setBatchSize(1)
    private val holder = source.dummyDataHolder()
    private val ids = new Array[String](1)

    /** None where the source itself leaves the sample out. */
    def row(sample: T1): Option[Array[Byte]] = {
      source.resetQueue(DataSource.QueueCapacity)
      ids(0) = null
      source.offer(sample)
      source.offer(source.STOP_MARK)
      if (source.nextBatch(ids, holder)) Some(RowRecord.encode(Option(ids(0)).getOrElse("?"), fields(holder)))
      else {
        log.warn("{} left out a sample", source.getClass.getName)
        None
      }
    }

    private def fields(value: Any): Seq[Field] = value match {
      case (first, second) => Seq(first, second).map(field(_))
      case floats: Array[Float] => Seq(field(floats))
      case values: Array[_] => values.toSeq.map(field(_))
      case other => Seq(field(other))
    }

    private def field(value: Any): Field = value match {
      case images: MatVector => image(images.get(0))
      case image: Mat => this.image(image)
      case blob: FloatBlob => Floats(blob.data().clone())
      case values: Array[Float] => Floats(values.clone())
      case other =>
        throw new IllegalArgumentException(s"${source.getClass.getName} collects batches in ${describe(other)}, which cannot " +
          "be fed; use MatVector or FloatBlob, alone, in a pair or in an Array[Any]")
    }

    private def describe(value: Any): String = if (value == null) "null" else value.getClass.getName

    private def image(mat: Mat): Field =
      if (mat == null) throw new IllegalArgumentException(s"${source.getClass.getName} left the image of row '${ids(0)}' empty")
      else if (mat.isEncoded) Encoded(mat.data())
      else Pixels(mat.channels(), mat.height(), mat.width(), mat.data())
  }
}
