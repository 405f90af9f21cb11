package com.yahoo.ml.caffe

import java.lang.reflect.InvocationTargetException
import java.util.concurrent.ArrayBlockingQueue

import caffe.Caffe.{CoSDataParameter, LayerParameter, Phase, SolverParameter, TransformationParameter}
import com.yahoo.ml.jcaffe.FloatBlob
import org.apache.spark.SparkContext
import org.apache.spark.rdd.RDD

/**
 * Where the records of a data layer come from. Subclasses are named by the layer's source_class and have a constructor
 * (conf: Config, layerId: Int, isTrain: Boolean). T1 is a record, T2 what a batch of them is collected in.
 */
abstract class DataSource[T1, T2](val conf: Config, val layerId: Int, val isTrain: Boolean, val STOP_MARK: T1)
    extends java.io.Serializable {
  @transient protected var sourceQueue: ArrayBlockingQueue[T1] = _
  protected var sourceFilePath: String = _
  protected var batchSize_ : Int = 0
  protected var solverMode: Int = 0
  @transient private[caffe] var solverParameter: SolverParameter = _
  @transient private[caffe] var layerParameter: LayerParameter = _
  @transient private[caffe] var transformationParameter: TransformationParameter = _

  /** Loads the layer's parameters; called on the driver, and on an executor before records are offered. */
  def init(): Boolean = {
    resetQueue(DataSource.QueueCapacity)
    solverParameter = conf.solverParameter
    solverMode = solverParameter.getSolverMode.getNumber
    val net = if (isTrain) conf.netParam else conf.testNetParam
    layerParameter = net.getLayer(layerId)
    transformationParameter = layerParameter.getTransformParam
    true
  }

  private[caffe] def resetQueue(capacity: Int): Unit = sourceQueue = new ArrayBlockingQueue[T1](capacity)

  def setBatchSize(size: Int): Unit = batchSize_ = size

  def batchSize(): Int = batchSize_

  /** Hands over one record; false while the queue is full. */
  def offer(sample: T1): Boolean = sourceQueue.offer(sample)

  /** All records. */
  def makeRDD(sc: SparkContext): RDD[T1]

  /** For messages. */
  private[caffe] def describe: String =
    if (sourceFilePath == null || sourceFilePath.isEmpty) getClass.getName else sourceFilePath

  /** The class that wrote a method of this object: what a subclass of a user overrides must be called. */
  private[caffe] def authorOf(method: String, parameters: Class[_]*): Class[_] =
    getClass.getMethod(method, parameters: _*).getDeclaringClass

  /** All records in the form that the engine reads (RowRecord). */
  private[caffe] def rows(sc: SparkContext): RDD[Array[Byte]] = SourceRows.rows(this, sc)

  /** Room for one batch, before transformation. */
  def dummyDataHolder(): T2

  /** Room for one batch, as the network gets it. */
  def dummyDataBlobs(): Array[FloatBlob]

  /** Takes a batch of offered records; false once STOP_MARK was taken and nothing came before it. */
  def nextBatch(sampleIds: Array[String], data: T2): Boolean

  /** Does a CoSData layer read this source? Then the next three describe its tops. */
  def useCoSDataLayer(): Boolean = false

  def getNumTops(): Int = 0

  def getTopDataType(index: Int): CoSDataParameter.DataType = null

  def getTopTransformParam(index: Int): TransformationParameter = null
}

object DataSource {
  private[caffe] val QueueCapacity = 1024

  /** The source of the data layer of the TRAIN or the TEST phase. */
  def getSource(conf: Config, isTraining: Boolean): DataSource[_, _] = {
    val net = if (isTraining) conf.netParam else conf.testNetParam
    val id = if (isTraining) conf.train_data_layer_id else conf.test_data_layer_id
    val phase = if (isTraining) Phase.TRAIN else Phase.TEST
    if (id < 0) throw new IllegalArgumentException(s"the network of ${conf.protoFile} has no data layer for phase $phase")
    ofLayer(conf, id, isTraining)
  }

  /** The source of one data layer of the TRAIN or the TEST net. */
  private[caffe] def ofLayer(conf: Config, id: Int, isTraining: Boolean): DataSource[_, _] = {
    val net = if (isTraining) conf.netParam else conf.testNetParam
    val layer = net.getLayer(id)
    val source = layer.getType match {
      case "Data" => new DataLayerSource(conf, id, isTraining)
      case "MemoryData" | "CoSData" =>
        Nets.requireSourceClass(layer)
        create(layer, conf, id, isTraining)
      case _ =>
        throw new IllegalArgumentException(s"${Nets.describe(layer)} cannot be read through Spark; use a Data layer, or a " +
          "MemoryData or CoSData layer with a source_class")
    }
    if (!source.init()) {
      throw new IllegalStateException(s"${Nets.describe(layer)}: ${source.getClass.getName} says that its initialisation failed")
    }
    source
  }

  private def create(layer: LayerParameter, conf: Config, id: Int, isTraining: Boolean): DataSource[_, _] = {
    val name = layer.getSourceClass
    val where = s"${Nets.describe(layer)}: source_class $name"
    val loader = Option(Thread.currentThread.getContextClassLoader).getOrElse(getClass.getClassLoader)
    try {
      Class.forName(name, true, loader).asSubclass(classOf[DataSource[_, _]])
        .getConstructor(classOf[Config], classOf[Int], classOf[Boolean])
        .newInstance(conf, Int.box(id), Boolean.box(isTraining))
    } catch {
      case _: ClassNotFoundException => throw new IllegalArgumentException(s"$where is not on the class path")
      case _: ClassCastException => throw new IllegalArgumentException(s"$where is no ${classOf[DataSource[_, _]].getName}")
      case _: NoSuchMethodException =>
        throw new IllegalArgumentException(s"$where has no constructor (Config, Int, Boolean)")
      case e: InvocationTargetException =>
        throw new IllegalArgumentException(s"$where cannot be constructed: ${e.getCause.getMessage}", e.getCause)
    }
  }
}
