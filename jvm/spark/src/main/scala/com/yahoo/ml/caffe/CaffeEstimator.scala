package com.yahoo.ml.caffe

import java.nio.charset.StandardCharsets.UTF_8
import java.util.UUID
import java.util.concurrent.locks.ReentrantLock

import caffe.Caffe.{NetParameter, SolverParameter}
import com.yahoo.ml.caffe.engine.Messages
import com.yahoo.ml.caffe.shaded.protobuf.TextFormat
import org.apache.hadoop.fs.Path
import org.apache.spark.SparkContext
import org.apache.spark.ml.Estimator
import org.apache.spark.ml.param.ParamMap
import org.apache.spark.ml.util._
import org.apache.spark.sql.functions.{coalesce, col, lit, not}
import org.apache.spark.sql.types.{MetadataBuilder, StructType}
import org.apache.spark.sql.{DataFrame, Dataset}
import org.slf4j.LoggerFactory

import scala.jdk.CollectionConverters._
import scala.util.control.NonFatal

/**
 * Trains a network on a DataFrame. The network's data layers, whatever they read, are filled from columns: the first blob
 * from featuresCol, the second from labelCol, or as `inputs` says. The rows are spread over the workers in equal parts and
 * kept on their local disks, so they are computed once and need not fit in memory.
 */
class CaffeEstimator(override val uid: String) extends Estimator[CaffeModel] with CaffeTrainParams with DefaultParamsWritable {
  import CaffeEstimator._

  def this() = this(Identifiable.randomUID("caffe"))

  /** With Params by name, as in `Map("base_lr" -> 0.01, "maxIter" -> 1000)`. */
  def this(params: Map[String, Any]) = {
    this()
    params.foreach { case (name, value) => setParam(name, value) }
  }

  @transient private var validation: Option[DataFrame] = None

  /** Rows for validation, in place of those that validationIndicatorCol marks; null: none. Not saved with the estimator. */
  def setValidation(frame: DataFrame): this.type = {
    validation = Option(frame)
    this
  }

  override def transformSchema(schema: StructType): StructType = {
    val made = plan(schema)
    withOutputs(schema, if (outputColumns.nonEmpty) outputColumns.map(_._2) else made.serving.outputs)
  }

  override def fit(dataset: Dataset[_]): CaffeModel = {
    transformSchema(dataset.schema, logging = true)
    val made = plan(dataset.schema)
    val sc = dataset.sparkSession.sparkContext
    val (training, held) = split(dataset)
    val first = firstRow(training, made.columns.map(_._2))
    val columns = made.inputs.zip(made.columns).map { case (input, (_, column)) => fittedColumn(input, column, first) }
    val frames = (training +: held.toSeq).map(named(_, columns))
    val heldRows = held.map(_ => frames(1).count())
    val batch = if (isDefined(batchSize)) $(batchSize) else ServingNet.batchOf(made.train, Nets.trainState(made.solver, made.train))
    val testBatch = heldRows.fold(batch)(batchForRounds(_, batch))
    val Seq(trainNet, testNet) = Seq(made.train, made.test).map(new FittedNet(_, made.solver, columns, batch, testBatch, $(shuffle)))
    val message = withRounds(solverMessage(made.solver), heldRows, testBatch).toBuilder
    if (made.train eq made.test) message.setNetParam(trainNet.training)
    else message.setTrainNetParam(trainNet.training).addTestNetParam(testNet.training)
    val chosen = message.build()
    val trained = run(sc, SolverFiles(chosen, trainNet.training, testNet.training), frames)
    val model = new CaffeModel(uid, ModelData(testNet.deployed.toByteArray, trained.model, NetSource.meanOf(made.test)))
    model.remember(trained.run)
    forRows(copyValues(model).setParent(this), made, columns).setPrecision(Precision.of(chosen))
  }

  /** Which columns fill what, from the schema alone. */
  private def plan(schema: StructType): Plan = {
    val base = solverBase
    val (train, test) = nets(base)
    val inputs = ServingNet.inputsOf(train, Nets.trainState(base, train))
    if (inputs.isEmpty) throw new IllegalArgumentException(s"network '${train.getName}' has no data layer in phase TRAIN")
    val columns = columnsOf(inputs.map(_.blob))
    columns.foreach { case (_, column) => requireColumn(schema, column) }
    val testStages = $(stages).toSeq ++ Nets.testState(base, test).getStageList.asScala
    val answered = answeredFrom(test, testStages, columns.map(_._1))
    Plan(base, train, test, inputs, columns, answered, ServingNet.build(test, testStages, answered, outputColumns.map(_._1)))
  }

  private def solverBase: SolverParameter =
    if (isDefined(solver)) SolverParameter.parseFrom(Messages.parseSolver($(solver).getBytes(UTF_8), "solver"))
    else SolverParameter.newBuilder().setBaseLr(0.01f).setLrPolicy("fixed").setMomentum(0.9f).build()

  private def nets(base: SolverParameter): (NetParameter, NetParameter) =
    if (isDefined(network)) {
      val net = NetParameter.parseFrom(Messages.parseNet($(network).getBytes(UTF_8), "network"))
      (net, net)
    } else if (base.hasNetParam) (base.getNetParam, base.getNetParam)
    else if (base.hasTrainNetParam) {
      (base.getTrainNetParam, if (base.getTestNetParamCount > 0) base.getTestNetParam(0) else base.getTrainNetParam)
    } else if (base.hasNet) throw new IllegalArgumentException(s"the solver's net ${base.getNet} does not exist here; set network")
    else throw new IllegalArgumentException("there is no network; set network, or a solver that names one")

  private def requireColumn(schema: StructType, column: String): Unit =
    if (!schema.fieldNames.contains(column)) {
      throw new IllegalArgumentException(s"column $column does not exist; the columns are ${schema.fieldNames.mkString(", ")}. " +
        "Set featuresCol and labelCol, or inputs to \"blob=column\"")
    } else if (InputReader.kind(schema(column).dataType).isEmpty) {
      throw new IllegalArgumentException(s"column $column has type ${schema(column).dataType.simpleString}; a network takes " +
        InputReader.Readable)
    }

  /** (blob, column) pairs for all blobs. */
  private def columnsOf(blobs: Seq[String]): Seq[(String, String)] = {
    val chosen = if (isDefined(inputs)) inputColumns(blobs).toMap else blobs.zip(Seq($(featuresCol), $(labelCol))).toMap
    chosen.keys.find(!blobs.contains(_)).foreach { blob =>
      throw new IllegalArgumentException(s"inputs: blob $blob is none of the data layers', which are ${blobs.mkString(", ")}")
    }
    blobs.map { blob =>
      blob -> chosen.getOrElse(blob, throw new IllegalArgumentException(
        s"nothing says which column fills blob $blob; set inputs to 'blob=column' for each of ${blobs.mkString(", ")}"))
    }
  }

  /** What answering needs: not what only losses and accuracies read, which are labels. */
  private def answeredFrom(net: NetParameter, stages: Seq[String], blobs: Seq[String]): Seq[String] = {
    val workers = ServingNet.layers(net, stages).filterNot(l => l.getType == "Accuracy" || l.getType.endsWith("Loss"))
    val read = blobs.filter(blob => workers.exists(_.getBottomList.contains(blob)))
    if (read.isEmpty) blobs.take(1) else read
  }

  private def split(dataset: Dataset[_]): (DataFrame, Option[DataFrame]) = {
    val all = dataset.toDF()
    if (validation.isDefined || !isDefined(validationIndicatorCol)) (all, validation)
    else {
      requireColumn(all.schema, $(validationIndicatorCol))
      val mark = coalesce(all(s"`${$(validationIndicatorCol)}`").cast("boolean"), lit(false))
      (all.where(not(mark)), Some(all.where(mark)))
    }
  }

  /** The first row that has values in all of these columns. */
  private def firstRow(frame: DataFrame, columns: Seq[String]): FirstRow = {
    val chosen = frame.select(columns.map(c => col(s"`$c`")): _*)
    val first = chosen.na.drop().head(1).headOption.getOrElse(throw new IllegalArgumentException(
      if (chosen.isEmpty) "the training data has no rows" else s"no row of the training data has all of ${columns.mkString(", ")}"))
    new FirstRow(frame.schema, columns.zip(first.toSeq).toMap)
  }

  /** How a column fills its blob; where nothing says what rows look like, the first one does. */
  private def fittedColumn(input: ServingInput, column: String, first: FirstRow): FittedColumn = {
    val stated = isDefined(inputShapes) && CaffeParams.shapes($(inputShapes).toSeq).contains(input.blob)
    val known = if (stated) input else input.copy(shape = first.shape(column, input))
    val filled = filledInput(known, column, first.schema)
    FittedColumn(filled, first.isPixels(column, filled.record.product))
  }

  /** The columns by the names of their blobs; rows with nulls go where handleInvalid says so. */
  private def named(frame: DataFrame, columns: Seq[FittedColumn]): DataFrame = {
    columns.foreach(c => requireColumn(frame.schema, c.input.name))
    val values = columns.map { c =>
      col(s"`${c.input.name}`").as(c.input.blob, new MetadataBuilder().putString(TopsReader.Column, c.input.name).build())
    }
    // For messages about a row.
    val id = FrameReader.Ids.find(frame.columns.contains).filterNot(_ => columns.exists(_.input.blob == FrameReader.Ids.head))
    val chosen = frame.select(values ++ id.map(col(_).as(FrameReader.Ids.head)): _*)
    if ($(handleInvalid) == CaffeParams.Error) chosen else chosen.na.drop(columns.map(_.input.blob))
  }

  private def withRounds(message: SolverParameter, rows: Option[Long], batch: Int): SolverParameter = {
    val out = message.toBuilder.clearTestIter().clearTestState().setSnapshotPrefix("snapshot")
    rows match {
      case None => out.clearTestInterval()
      case Some(0) => throw new IllegalArgumentException("there are no rows for validation")
      case Some(count) =>
        out.addTestIter(Math.toIntExact((count + batch - 1) / batch))
        if (message.getTestStateCount > 0) out.addTestState(message.getTestState(0))
        if (out.getTestInterval < 1) out.setTestInterval(math.max(1, out.getMaxIter / UsualRounds))
    }
    if ($(earlyStoppingRounds) > 0 && rows.isEmpty) {
      throw new IllegalArgumentException("earlyStoppingRounds needs rows for validation: setValidation, or validationIndicatorCol")
    }
    out.build()
  }

  private def run(sc: SparkContext, files: SolverFiles, frames: Seq[DataFrame]): Fitted = {
    val conf = new Config(sc)
    conf.resize = $(resize)
    if (isDefined(numWorkers)) conf.clusterSize = $(numWorkers)
    if (isDefined(initialWeights)) conf.snapshotModelFile = $(initialWeights)
    val stopping =
      if ($(earlyStoppingRounds) == 0) None
      else Some(EarlyStopping($(monitor), $(earlyStoppingRounds), EarlyStopping.smallerIsBetter($(monitor))))
    val storage = new Storage(sc.hadoopConfiguration)
    val folder = if (isDefined(workDir)) Some(new Path(storage.resolve($(workDir)), s"caffeonspark-${UUID.randomUUID()}")) else None
    conf.modelPath = folder.fold("file:/model.caffemodel")(new Path(_, "model.caffemodel").toString)
    conf.use(if (folder.isEmpty) withoutSnapshots(files) else files, "the estimator")
    val sources = frames.zip(Seq(true, false)).map { case (frame, isTrain) =>
      val source = new FrameRows(conf, if (isTrain) conf.train_data_layer_id else conf.test_data_layer_id, isTrain, frame)
      source.init()
      source
    }
    val trainer = new Trainer(sc, conf, frames.length > 1, sources, stopping, returnsModel = folder.isEmpty)
    oneAfterAnother.lockInterruptibly()
    try {
      val trained = trainer.run()
      val written = trainer.modelPath
      Fitted(trained, trained.model.getOrElse(storage.patiently(written)(storage.readBytes(written))))
    } finally {
      oneAfterAnother.unlock()
      folder.foreach(clearAway(storage, _))
    }
  }

  /** The model is here, or there is none: what is left of the run does no harm. */
  private def clearAway(storage: Storage, folder: Path): Unit =
    try storage.deleteFolder(folder)
    catch { case NonFatal(e) => log.warn(s"$folder could not be removed: ${Failures.describe(e)}") }

  private def withoutSnapshots(files: SolverFiles): SolverFiles = {
    if (files.solver.getSnapshot > 0) log.warn("the solver's snapshot has no effect: set workDir to a folder that all executors see")
    files.copy(solver = files.solver.toBuilder.clearSnapshot().build())
  }

  /** With what this estimator found out about rows, so that the model takes such rows as they were taken in training. */
  private def forRows(model: CaffeModel, made: Plan, columns: Seq[FittedColumn]): CaffeModel = {
    model.set(model.predictionCol, $(predictionCol)) // set, not by default: the default of a CaffeModel in Python is another
    if (isDefined(inputs)) {
      model.set(model.inputs, made.columns.filter(c => made.answered.contains(c._1)).map { case (b, c) => s"$b=$c" }.toArray)
    }
    val cropped = columns.map(_.input).filter(in => in.record != in.shape)
    if (!isDefined(inputShapes) && cropped.nonEmpty) {
      model.set(model.inputShapes, cropped.map(in => s"${in.blob}:${in.record.mkString("x")}").toArray)
    }
    model
  }

  override def copy(extra: ParamMap): CaffeEstimator = {
    val made = defaultCopy[CaffeEstimator](extra)
    validation.foreach(made.setValidation)
    made
  }
}

object CaffeEstimator extends DefaultParamsReadable[CaffeEstimator] {
  private val log = LoggerFactory.getLogger(classOf[CaffeEstimator])

  /** Validation rounds of a training run, where nothing else is said. */
  private val UsualRounds = 10

  /** Every run takes all its workers at once, so runs that a CrossValidator starts side by side take turns. */
  private val oneAfterAnother = new ReentrantLock(true)

  override def load(path: String): CaffeEstimator = super.load(path)

  private final case class Plan(solver: SolverParameter, train: NetParameter, test: NetParameter, inputs: Seq[ServingInput],
      columns: Seq[(String, String)], answered: Seq[String], serving: ServingNet)

  private final case class Fitted(run: Trained, model: Array[Byte])

  /** Rows in a batch of validation: if possible so that batches make up `rows`, and no row counts twice in the means. */
  private[caffe] def batchForRounds(rows: Long, batch: Int): Int =
    (batch to math.max(1, batch / 4) by -1).find(rows % _ == 0).getOrElse(batch)
}
