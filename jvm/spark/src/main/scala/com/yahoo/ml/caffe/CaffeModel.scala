package com.yahoo.ml.caffe

import java.io.FileNotFoundException

import caffe.Caffe.{NetParameter, TransformationParameter}
import com.yahoo.ml.caffe.shaded.protobuf.TextFormat
import org.apache.hadoop.fs.Path
import org.apache.spark.SparkContext
import org.apache.spark.broadcast.Broadcast
import org.apache.spark.ml.Model
import org.apache.spark.ml.param.{Param, ParamMap}
import org.apache.spark.ml.util._
import org.apache.spark.sql.types.StructType
import org.apache.spark.sql.{DataFrame, Dataset, Encoders}

/**
 * A network with its weights, as a stage of spark.ml. `transform` keeps all columns and answers every row once, in order; it
 * works on streams too. No label is needed: layers that want one are left out, unless `inputs` feeds it.
 */
class CaffeModel private[caffe] (override val uid: String, private[caffe] val data: ModelData)
    extends Model[CaffeModel] with CaffeParams with DefaultParamsWritable {
  @transient private var sent: Option[(SparkContext, Broadcast[ModelData])] = None
  @transient private var trained: Option[Trained] = None
  @transient private lazy val network: NetParameter = NetParameter.parseFrom(data.net)

  setDefault(precision -> Precision.F32) // an estimator's is the solver's

  /** The network's definition, all phases. */
  def net: NetParameter = network

  /** The same in the language of prototxt files. */
  def netText: String = TextFormat.printer().printToString(network)

  /** The content of the model file: a .caffemodel, or a .caffemodel.h5. */
  def weights: Array[Byte] = data.weights.clone()

  /** Was this model trained in this program, so that `summary` tells how? */
  def hasSummary: Boolean = trained.isDefined

  /** How the training went. */
  def summary: TrainingSummary = new TrainingSummary(trained.getOrElse(throw new IllegalStateException(
    "this model has no training summary: it was loaded, or made of files")))

  private[caffe] def remember(run: Trained): Unit = trained = Some(run.copy(model = None))

  /** Names of the blobs that rows can fill. */
  def inputNames: Array[String] = ServingNet.inputs(network, $(stages).toSeq).map(_.blob).toArray

  private def columns: (ServingNet, Seq[String], Seq[String]) = {
    val known = ServingNet.inputs(network, $(stages).toSeq).map(_.blob)
    if (known.isEmpty) throw new IllegalArgumentException(s"network '${network.getName}' has no input in phase TEST")
    val filled = inputColumns(known)
    val serving = ServingNet.build(network, $(stages).toSeq, filled.map(_._1), outputColumns.map(_._1))
    val names = if (outputColumns.nonEmpty) outputColumns.map(_._2) else serving.outputs
    (serving, filled.map(_._2), names)
  }

  override def transformSchema(schema: StructType): StructType = {
    val (serving, from, to) = columns
    serving.inputs.zip(from).foreach { case (input, column) => filledInput(input, column, schema) }
    withOutputs(schema, to)
  }

  /** What tasks do with rows of this schema. */
  private[caffe] def job(schema: StructType): PredictJob = {
    val (serving, from, _) = columns
    val filled = serving.inputs.zip(from).map { case (input, column) => filledInput(input, column, schema) }
    filled.filter(in => usesMeanFile(in) && data.mean.isEmpty).foreach { in =>
      throw new FileNotFoundException(s"blob ${in.blob}: the mean file of its transform_param was not found when the network " +
        "was read; put it where the prototxt says, or set meanValues")
    }
    val batch = if (isDefined(batchSize)) $(batchSize) else serving.batch
    val net = ServingNet.withInputs(serving, filled.map(batch +: _.shape)).toByteArray
    val key = (Manifest.sha256(net) +: data.digest +: $(precision) +: serving.outputs).mkString("/")
    PredictJob(key, net, filled, serving.outputs, batch, $(vectorOutput), $(predictionCol).nonEmpty, $(handleInvalid),
      ServingNet.canShare(serving.net), $(threads), $(precision))
  }

  private def usesMeanFile(input: FilledInput): Boolean =
    TransformationParameter.parseFrom(input.transform).hasMeanFile

  override def transform(dataset: Dataset[_]): DataFrame = {
    val schema = transformSchema(dataset.schema, logging = true)
    val planned = job(dataset.schema)
    val model = broadcast(dataset.sparkSession.sparkContext)
    val hdf5 = data.hdf5
    dataset.toDF().mapPartitions(rows => Predictor.rows(planned, model, hdf5, rows))(Encoders.row(schema))
  }

  private def broadcast(sc: SparkContext): Broadcast[ModelData] = synchronized {
    sent.filter(_._1 eq sc).map(_._2).getOrElse {
      val made = sc.broadcast(data)
      sent = Some((sc, made))
      made
    }
  }

  override def copy(extra: ParamMap): CaffeModel = {
    val made = copyValues(new CaffeModel(uid, data), extra).setParent(parent)
    made.trained = trained
    made
  }

  /** Params as spark.ml writes them, and beside them files that any Caffe can read. */
  override def write: MLWriter = {
    val params = super.write
    new MLWriter {
      override protected def saveImpl(path: String): Unit = {
        params.save(path)
        CaffeModel.writeFiles(CaffeModel.this, path, new Storage(sparkSession.sparkContext.hadoopConfiguration))
      }
    }
  }

  override def toString: String = s"CaffeModel: uid=$uid, network=${network.getName}"

  private[caffe] def withDefault[T](param: Param[T], value: T): this.type = setDefault(param, value)
}

object CaffeModel extends MLReadable[CaffeModel] {
  private val Net = "net.prototxt"
  private val Weights = "weights.caffemodel"
  private val Mean = "mean.binaryproto"

  /**
   * A model of Caffe's. `net` is a prototxt: a path or its text; `weights` a path, .caffemodel or .caffemodel.h5. Paths are
   * local, or any that Hadoop's configuration knows.
   */
  def fromCaffe(net: String, weights: String): CaffeModel = {
    val source = NetSource.read(net)
    make(source, NetSource.bytes(weights, "the model"))
  }

  /** The same with the weights' file as bytes. */
  def fromCaffe(net: String, weights: Array[Byte]): CaffeModel = make(NetSource.read(net), weights)

  def fromCaffe(net: NetParameter, weights: Array[Byte]): CaffeModel = make(NetSource.of(net), weights)

  private def make(source: NetSource, weights: Array[Byte]): CaffeModel =
    new CaffeModel(Identifiable.randomUID("caffe"), ModelData(source, weights))

  override def read: MLReader[CaffeModel] = new MLReader[CaffeModel] {
    override def load(path: String): CaffeModel = readFrom(path, new Storage(sparkSession.sparkContext.hadoopConfiguration))
  }

  override def load(path: String): CaffeModel = super.load(path)

  private def writeFiles(model: CaffeModel, path: String, storage: Storage): Unit = {
    val folder = storage.resolve(path)
    storage.writeText(model.netText, new Path(folder, Net))
    storage.writeBytes(model.data.weights, new Path(folder, if (model.data.hdf5) s"$Weights.h5" else Weights))
    if (model.data.mean.nonEmpty) storage.writeBytes(model.data.mean, new Path(folder, Mean))
  }

  /** Needs no Spark session, so that executors can do it too. */
  private[caffe] def readFrom(path: String, storage: Storage): CaffeModel = {
    val folder = storage.resolve(path)
    val saved = SavedParams.read(folder, storage, classOf[CaffeModel])
    def file(name: String): Option[Array[Byte]] =
      Some(new Path(folder, name)).filter(storage.exists).map(storage.readBytes)
    val hdf5 = file(s"$Weights.h5")
    val weights = hdf5.orElse(file(Weights)).getOrElse(throw new FileNotFoundException(s"$folder has no file $Weights"))
    val net = file(Net).getOrElse(throw new FileNotFoundException(s"$folder has no file $Net"))
    val data = ModelData(NetSource.parse(net, s"$folder/$Net", file(Mean)), weights)
    val model = new CaffeModel(saved.uid, data)
    saved.defaults(model).foreach { case (param, value) => model.withDefault(param, value) }
    saved.values(model).foreach { case (param, value) => model.set(param, value) }
    model
  }
}
