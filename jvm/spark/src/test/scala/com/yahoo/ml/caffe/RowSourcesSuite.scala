package com.yahoo.ml.caffe

import java.nio.file.{Files, Path}

import caffe.Caffe.{BlobProto, NetParameter}
import com.yahoo.ml.caffe.tools.{LMDB2DataFrame, LMDB2Sequence}
import com.yahoo.ml.jcaffe.{FloatBlob, Mat, MatVector}
import org.apache.spark.SparkContext
import org.apache.spark.ml.linalg.Vectors
import org.apache.spark.rdd.RDD
import org.apache.spark.sql.{DataFrame, Row, SparkSession}
import org.apache.spark.sql.functions.{col, udf}

import scala.jdk.CollectionConverters._

/** A user's own source, with batches collected in its own way. */
class PixelsOfCsv(conf: Config, layerId: Int, isTrain: Boolean)
    extends DataSource[(String, Array[Float]), (FloatBlob, FloatBlob)](conf, layerId, isTrain, (null, null)) {
  override def init(): Boolean = super.init() && {
    sourceFilePath = layerParameter.getMemoryDataParam.getSource
    setBatchSize(layerParameter.getMemoryDataParam.getBatchSize)
    true
  }

  override def makeRDD(sc: SparkContext): RDD[(String, Array[Float])] =
    sc.textFile(sourceFilePath, 3).map(_.split(",")).map(words => (words.head, words.tail.map(_.toFloat)))

  override def dummyDataHolder(): (FloatBlob, FloatBlob) = (shaped(784), shaped(1))

  override def dummyDataBlobs(): Array[FloatBlob] = Array(shaped(784), shaped(1))

  private def shaped(size: Int): FloatBlob = {
    val blob = new FloatBlob
    blob.reshape(batchSize(), size, 1, 1)
    blob
  }

  override def nextBatch(sampleIds: Array[String], data: (FloatBlob, FloatBlob)): Boolean = {
    var row = 0
    while (row < batchSize()) {
      val (id, values) = sourceQueue.take()
      if (values == null) return false
      sampleIds(row) = id
      System.arraycopy(values, 1, data._1.data(), row * 784, 784)
      data._2.cpu_data().set(row, values.head)
      row += 1
    }
    true
  }
}

/** A user's own source that makes its samples only. */
class BackwardsLmdb(conf: Config, layerId: Int, isTrain: Boolean) extends LMDB(conf, layerId, isTrain) {
  override def makeRDD(sc: SparkContext): RDD[(String, String, Int, Int, Int, Boolean, Array[Byte])] =
    super.makeRDD(sc).map { case (id, label, c, h, w, encoded, bytes) => (id.reverse, label, c, h, w, encoded, bytes) }
}

/** A user's image source that collects batches itself. */
class OwnBatches(conf: Config, layerId: Int, isTrain: Boolean) extends BackwardsLmdb(conf, layerId, isTrain) {
  override def nextBatch(sampleIds: Array[String], data: (MatVector, FloatBlob)): Boolean = {
    val (id, label, c, h, w, _, bytes) = sourceQueue.take()
    if (bytes == null) false
    else {
      sampleIds(0) = "own-" + id
      data._1.put(0, new Mat(c, h, w, bytes))
      data._2.data()(0) = label.toFloat
      true
    }
  }
}

/** A user's own frames of images. */
class BackwardsFrame(conf: Config, layerId: Int, isTrain: Boolean) extends ImageDataFrame(conf, layerId, isTrain) {
  override def makeRDD(sc: SparkContext): RDD[(String, String, Int, Int, Int, Boolean, Array[Byte])] =
    super.makeRDD(sc).map { case (id, label, c, h, w, encoded, bytes) => (id.reverse, label, c, h, w, encoded, bytes) }
}

/** A user's own tops, collected with what DataFrameSource has for it. */
class OwnTops(conf: Config, layerId: Int, isTrain: Boolean) extends DataFrameSource(conf, layerId, isTrain) {
  override def nextBatch(sampleIds: Array[String], data: Array[Any]): Boolean = {
    val (id, values) = sourceQueue.take()
    if (values == null) false
    else {
      sampleIds(0) = id.reverse
      setMatVector(0, 0, values(0).asInstanceOf[Array[Byte]], -1, -1, data(0).asInstanceOf[MatVector], encoded = false)
      setFloatBlob(0, 1, Array(values(1).asInstanceOf[String].toFloat), data(1).asInstanceOf[FloatBlob])
      true
    }
  }
}

/** Rows of Spark, against the same records in an LMDB. One session for all. */
class RowSourcesSuite extends SparkTest {
  private val memory = "channels: 1 height: 28 width: 28"

  /** The digits' network with another data layer for both phases; `source` gets "train" or "test". */
  private def net(folder: Path, name: String, layer: String => String): String = {
    val original = text(folder.resolve("net.prototxt"))
    val rest = original.substring(original.indexOf("layer {\n  name: \"conv1\""))
    def data(phase: String) = s"""layer { name: "mnist" top: "data" top: "label" include { phase: ${phase.toUpperCase} } ${layer(phase)} }"""
    write(folder.resolve(name), data("train") + "\n" + data("test") + "\n" + rest)
    name
  }

  private def memoryLayer(sourceClass: String, source: String => String, more: String = "", transform: String = "scale: 0.00390625")
      : String => String = phase =>
    s"""type: "MemoryData" source_class: "$sourceClass" transform_param { $transform }
       memory_data_param { $memory source: "${source(phase)}" batch_size: ${if (phase == "train") 64 else 90} $more }"""

  private def topsLayer(sourceClass: String, folder: Path): String => String = phase =>
    s"""type: "CoSData" source_class: "com.yahoo.ml.caffe.$sourceClass" cos_data_param {
       source: "file:$folder/$phase.parquet" batch_size: ${if (phase == "train") 64 else 90}
       top { name: "data" type: RAW_IMAGE channels: 1 height: 28 width: 28 transform_param { scale: 0.00390625 } }
       top { name: "label" type: STRING sample_num_axes: 0 } }"""

  private def config(sc: SparkContext, folder: Path, net: String, iterations: Int, more: String*): Config =
    new Config(sc, (Seq("-conf", solver(folder, iterations, net = net).toString, "-model", s"file:$folder/$net.model",
      "-clusterSize", "2", "-features", "ip2,accuracy", "-label", "label") ++ more).toArray)

  /** The weights; the model's file names its data layers, too. */
  private def trained(sc: SparkContext, conf: Config): Seq[(String, java.util.List[BlobProto])] = {
    new CaffeOnSpark(sc).train(DataSource.getSource(conf, true))
    NetParameter.parseFrom(modelOf(conf)).getLayerList.asScala.toSeq.map(layer => (layer.getName, layer.getBlobsList))
      .filterNot(_._2.isEmpty)
  }

  private def modelOf(conf: Config): Array[Byte] =
    Files.readAllBytes(java.nio.file.Paths.get(conf.modelPath.stripPrefix("file:")))

  /** id -> (ip2, label) */
  private def answers(sc: SparkContext, conf: Config): Map[String, (Seq[Float], Seq[Float])] = {
    val frame = new CaffeOnSpark(sc).features(DataSource.getSource(conf, false))
    val rows = frame.collect()
    frame.unpersist()
    assert(rows.map(_.getString(0)).distinct.length == rows.length)
    rows.map(r => r.getString(0) -> ((r.getSeq[Float](1).toSeq, r.getAs[scala.collection.Seq[Float]]("label").toSeq))).toMap
  }

  private def frame(session: SparkSession, folder: Path, phase: String): DataFrame = {
    val conf = new Config(session.sparkContext, Array("-imageRoot", s"file:$folder/digits_${phase}_lmdb", "-lmdb_partitions", "1"))
    session.createDataFrame(new LMDB2DataFrame(session.sparkContext, conf).makeRDD(), LMDB2DataFrame.schema)
  }

  /** Batches are cut elsewhere, which may change the last bit of a sum. */
  private def agree(found: Map[String, (Seq[Float], Seq[Float])], expected: Map[String, (Seq[Float], Seq[Float])]): Boolean =
    found.keySet == expected.keySet && expected.forall { case (id, (scores, label)) =>
      found(id)._2 == label && found(id)._1.zip(scores).forall { case (a, b) => math.abs(a - b) <= 1e-5 * (1 + math.abs(b)) }
    }

  private def error(body: => Any): String = Failures.oneLine(intercept[Exception](within(120)(body)))

  test("rows of Spark") {
    withSpark("local[2]") { session =>
      within(900) {
        scratch { folder =>
          val before = temporaryFiles()
          val sc = session.sparkContext
          val stored = config(sc, folder, "net.prototxt", 10)
          val weights = trained(sc, stored)
          val model = modelOf(stored)
          val expected = answers(sc, stored)
          val accuracy = new CaffeOnSpark(sc).test(DataSource.getSource(stored, false))
          assert(expected.size == 360)

          for (phase <- Seq("train", "test")) {
            val conf = new Config(sc, Array("-imageRoot", s"file:$folder/digits_${phase}_lmdb", "-lmdb_partitions", "1"))
            new LMDB2Sequence(sc, conf).makeRDD().saveAsSequenceFile(s"file:$folder/$phase.seq")
            frame(session, folder, phase).write.parquet(s"file:$folder/$phase.parquet")
            frame(session, folder, phase).write.json(s"file:$folder/$phase.json")
          }

          /** Two workers reach the same weights, bit by bit; test and features give the same answers. */
          def same(name: String, conf: Config): Unit = {
            assert(trained(sc, conf) == weights, name)
            val found = answers(sc, conf)
            assert(agree(found, expected), name)
            val means = new CaffeOnSpark(sc).test(DataSource.getSource(conf, false))
            assert(math.abs(means("accuracy").head - accuracy("accuracy").head) < 1e-6, name) // floats of other batches
          }

          val seq = net(folder, "seq.prototxt", memoryLayer("com.yahoo.ml.caffe.SeqImageDataSource", p => s"file:$folder/$p.seq"))
          same("SequenceFile", config(sc, folder, seq, 10))
          val frames = net(folder, "frame.prototxt", memoryLayer("com.yahoo.ml.caffe.ImageDataFrame", p => s"file:$folder/$p.parquet"))
          same("Parquet", config(sc, folder, frames, 10, "-persistent"))
          val json = net(folder, "json.prototxt", memoryLayer("com.yahoo.ml.caffe.ImageDataFrame", p => s"file:$folder/$p.json",
            """dataframe_format: "json" """))
          same("JSON", config(sc, folder, json, 10))
          val resized = net(folder, "lmdb.prototxt", memoryLayer("com.yahoo.ml.caffe.LMDB", p => s"file:$folder/digits_${p}_lmdb"))
          same("LMDB through rows", config(sc, folder, resized, 10, "-resize"))

          same("CoSData", config(sc, folder, net(folder, "cos.prototxt", topsLayer("DataFrameSource", folder)), 10))

          vectors(session, folder)
          val vector = net(folder, "vector.prototxt", memoryLayer("com.yahoo.ml.caffe.ImageDataFrame",
            p => s"file:$folder/$p.vectors", """dataframe_column_select: "id" dataframe_column_select: "float(label) as label"
              dataframe_column_select: "pixels as data" """))
          same("vectors", config(sc, folder, vector, 10))

          own(session, folder, expected, weights, model)
          assert(temporaryFiles() == before)
        }
      }
    }
  }

  private def vectors(session: SparkSession, folder: Path): Unit = {
    val vector = udf((bytes: Array[Byte]) => Vectors.dense(bytes.map(b => (b & 0xff).toDouble)))
    for (phase <- Seq("train", "test")) {
      frame(session, folder, phase).select(col("id"), col("label"), vector(col("data")).as("pixels"))
        .write.parquet(s"file:$folder/$phase.vectors")
    }
  }

  /** Sources of users. */
  private def own(session: SparkSession, folder: Path, expected: Map[String, (Seq[Float], Seq[Float])],
      weights: Seq[(String, java.util.List[BlobProto])], model: Array[Byte]): Unit = {
    val sc = session.sparkContext
    def withModel(conf: Config): Config = {
      Files.write(java.nio.file.Paths.get(conf.modelPath.stripPrefix("file:")), model)
      conf
    }
    for (phase <- Seq("train", "test")) {
      frame(session, folder, phase).rdd.map { r =>
        (r.getString(0) +: r.getString(1) +: r.getAs[Array[Byte]](6).map(b => (b & 0xff).toString)).mkString(",")
      }.saveAsTextFile(s"file:$folder/$phase.csv")
    }
    val csv = net(folder, "csv.prototxt", memoryLayer("com.yahoo.ml.caffe.PixelsOfCsv", p => s"file:$folder/$p.csv"))
    assert(trained(sc, config(sc, folder, csv, 10)) == weights)
    assert(agree(answers(sc, config(sc, folder, csv, 10)), expected))
    val reversed = expected.map { case (id, values) => id.reverse -> values }
    val backwards = net(folder, "own.prototxt", memoryLayer("com.yahoo.ml.caffe.BackwardsLmdb", p => s"file:$folder/digits_${p}_lmdb"))
    assert(agree(answers(sc, withModel(config(sc, folder, backwards, 10))), reversed))
    val frames = net(folder, "frames.prototxt", memoryLayer("com.yahoo.ml.caffe.BackwardsFrame", p => s"file:$folder/$p.parquet"))
    assert(agree(answers(sc, withModel(config(sc, folder, frames, 10))), reversed))
    val tops = net(folder, "tops.prototxt", topsLayer("OwnTops", folder))
    assert(agree(answers(sc, withModel(config(sc, folder, tops, 10))), reversed))
    val batches = net(folder, "batches.prototxt", memoryLayer("com.yahoo.ml.caffe.OwnBatches", p => s"file:$folder/digits_${p}_lmdb"))
    assert(agree(answers(sc, withModel(config(sc, folder, batches, 10))), reversed.map { case (id, v) => s"own-$id" -> v }))
  }
}
