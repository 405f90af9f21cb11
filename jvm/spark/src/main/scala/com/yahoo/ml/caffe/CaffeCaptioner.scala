package com.yahoo.ml.caffe

import java.io.FileNotFoundException

import com.yahoo.ml.caffe.shaded.protobuf.TextFormat
import caffe.Caffe.NetParameter
import com.yahoo.ml.caffe.tools.Vocab
import org.apache.hadoop.fs.Path
import org.apache.spark.ml.Model
import org.apache.spark.ml.param._
import org.apache.spark.ml.param.shared.HasFeaturesCol
import org.apache.spark.ml.util._
import org.apache.spark.sql.types.{StringType, StructField, StructType}
import org.apache.spark.sql.{DataFrame, Dataset, Encoders}

/**
 * Says in words what a vector of features means, as LRCN's networks do: a network with an LSTM chooses word after word, each
 * time the most probable one, until it chooses the end. The features are those of a picture, made by a CaffeModel in the
 * stage before. The network has three inputs: the word before (1 x batch), whether a sentence goes on (1 x batch, 0 for its
 * first word), and the features (batch x size); its first output are the words' probabilities or scores. A row whose
 * features are null gets a null.
 */
class CaffeCaptioner private[caffe] (override val uid: String, private[caffe] val data: ModelData,
    private[caffe] val words: Vector[String]) extends Model[CaffeCaptioner] with HasFeaturesCol with DefaultParamsWritable {
  final val captionCol = new Param[String](this, "captionCol", "column for the sentence")
  final val maxLength = new IntParam(this, "maxLength", "words after which a sentence ends at the latest", ParamValidators.gtEq(1))
  final val batchSize = new IntParam(this, "batchSize", "sentences that are made together", ParamValidators.gtEq(1))
  final val wordBlob = new Param[String](this, "wordBlob", "the network's input for the word before")
  final val contBlob = new Param[String](this, "contBlob", "the network's input that says whether a sentence goes on")
  final val featuresBlob = new Param[String](this, "featuresBlob", "the network's input for the features")
  final val threads = new IntParam(this, "threads", "compute threads of a task; 0: as many as the task has cores",
    ParamValidators.gtEq(0))
  final val precision = new Param[String](this, "precision",
    "what is computed in: f32, or bf16, which is faster on processors that have it", ParamValidators.inArray(Precision.Names))

  setDefault(captionCol -> "caption", maxLength -> 20, batchSize -> 100, wordBlob -> "input_sentence",
    contBlob -> "cont_sentence", featuresBlob -> "image_features", threads -> 0, precision -> Precision.F32)

  def getCaptionCol: String = $(captionCol)
  def getMaxLength: Int = $(maxLength)
  def getBatchSize: Int = $(batchSize)
  def getWordBlob: String = $(wordBlob)
  def getContBlob: String = $(contBlob)
  def getFeaturesBlob: String = $(featuresBlob)
  def getThreads: Int = $(threads)
  def getPrecision: String = $(precision)

  def setFeaturesCol(value: String): this.type = set(featuresCol, value)
  def setCaptionCol(value: String): this.type = set(captionCol, value)
  def setMaxLength(value: Int): this.type = set(maxLength, value)
  def setBatchSize(value: Int): this.type = set(batchSize, value)
  def setWordBlob(value: String): this.type = set(wordBlob, value)
  def setContBlob(value: String): this.type = set(contBlob, value)
  def setFeaturesBlob(value: String): this.type = set(featuresBlob, value)
  def setThreads(value: Int): this.type = set(threads, value)
  def setPrecision(value: String): this.type = set(precision, value)

  /** The words that it knows, the most frequent first. */
  def vocabulary: Array[String] = words.toArray

  override def transformSchema(schema: StructType): StructType = {
    if (schema.fieldNames.contains($(captionCol))) {
      throw new IllegalArgumentException(s"column ${$(captionCol)} exists already; set captionCol to another name")
    }
    features(schema)
    StructType(schema.fields :+ StructField($(captionCol), StringType, nullable = true))
  }

  private def features(schema: StructType): Int = {
    val index = schema.fieldNames.indexOf($(featuresCol))
    if (index < 0) {
      throw new IllegalArgumentException(s"column ${$(featuresCol)} does not exist; the columns are " +
        s"${schema.fieldNames.mkString(", ")}. Set featuresCol")
    }
    val kind = schema(index).dataType
    if (!InputReader.kind(kind).exists(Set("array", "vector"))) {
      throw new IllegalArgumentException(s"column ${$(featuresCol)} has type ${kind.simpleString}, expected an array of numbers " +
        "or an ML vector: what a CaffeModel makes of a picture")
    }
    index
  }

  /** What tasks do with rows of this schema. */
  private[caffe] def job(schema: StructType): CaptionJob = {
    val net = NetParameter.parseFrom(data.net)
    val serving = ServingNet.build(net, Nil, Seq($(wordBlob), $(contBlob), $(featuresBlob)), Nil)
    val shape = serving.inputs(2).shape.filter(_.length == 1).getOrElse(throw new IllegalArgumentException(
      s"blob ${$(featuresBlob)} of network '${net.getName}' must have two axes: batch x features"))
    val batch = $(batchSize)
    val ready = ServingNet.withInputs(serving, Seq(Seq(1, batch), Seq(1, batch), batch +: shape)).toByteArray
    val index = features(schema)
    val input = FilledInput($(featuresBlob), index, $(featuresCol), schema(index).dataType, shape, shape, Array.empty, resize = false)
    val key = (Seq(Manifest.sha256(ready), data.digest, $(precision)) ++ serving.outputs).mkString("/")
    CaptionJob(key, ready, input, $(wordBlob), $(contBlob), serving.outputs.head, batch, $(maxLength), $(threads), $(precision))
  }

  override def transform(dataset: Dataset[_]): DataFrame = {
    val schema = transformSchema(dataset.schema, logging = true)
    val planned = job(dataset.schema)
    val model = dataset.sparkSession.sparkContext.broadcast(CaptionModel(data, words))
    dataset.toDF().mapPartitions(rows => Captions.rows(planned, model, rows))(Encoders.row(schema))
  }

  override def copy(extra: ParamMap): CaffeCaptioner = copyValues(new CaffeCaptioner(uid, data, words), extra).setParent(parent)

  /** Params as spark.ml writes them, and beside them files that any Caffe can read, and the vocabulary. */
  override def write: MLWriter = {
    val params = super.write
    new MLWriter {
      override protected def saveImpl(path: String): Unit = {
        params.save(path)
        val storage = new Storage(sparkSession.sparkContext.hadoopConfiguration)
        val folder = storage.resolve(path)
        val text = TextFormat.printer().printToString(NetParameter.parseFrom(data.net))
        storage.writeText(text, new Path(folder, CaffeCaptioner.Net))
        storage.writeBytes(data.weights, new Path(folder, CaffeCaptioner.Weights))
        storage.writeText(Vocab.text(words), new Path(folder, CaffeCaptioner.Words))
      }
    }
  }
}

object CaffeCaptioner extends MLReadable[CaffeCaptioner] {
  private val Net = "net.prototxt"
  private val Weights = "weights.caffemodel" // HDF5 files too: the engine's reader is told by the content
  private val Words = "vocabulary.txt"

  /**
   * `net` is a prototxt for one step of time (data/lrcn_word_to_preds.deploy.prototxt is one): a path or its text; `weights`
   * a .caffemodel or .caffemodel.h5; `vocabulary` what CocoDataSetConverter or Vocab saved.
   */
  def fromCaffe(net: String, weights: String, vocabulary: String): CaffeCaptioner = {
    val vocab = new Vocab(org.apache.spark.sql.SparkSession.active.sqlContext)
    vocab.load(vocabulary)
    val data = ModelData(NetSource.read(net), NetSource.bytes(weights, "the model"))
    new CaffeCaptioner(Identifiable.randomUID("captioner"), data, vocab.all)
  }

  override def read: MLReader[CaffeCaptioner] = new MLReader[CaffeCaptioner] {
    override def load(path: String): CaffeCaptioner = {
      val storage = new Storage(sparkSession.sparkContext.hadoopConfiguration)
      val folder = storage.resolve(path)
      val saved = SavedParams.read(folder, storage, classOf[CaffeCaptioner])
      def file(name: String): Array[Byte] = {
        val path = new Path(folder, name)
        if (!storage.exists(path)) throw new FileNotFoundException(s"$folder has no file $name")
        storage.readBytes(path)
      }
      val data = ModelData(NetSource.parse(file(Net), s"$folder/$Net", None), file(Weights))
      val words = Vocab.parse(new String(file(Words), "UTF-8"), s"$folder/$Words")
      val captioner = new CaffeCaptioner(saved.uid, data, words)
      saved.values(captioner).foreach { case (param, value) => captioner.set(param, value) }
      captioner
    }
  }

  override def load(path: String): CaffeCaptioner = super.load(path)
}
