package com.yahoo.ml.caffe

import caffe.Caffe.TransformationParameter
import org.apache.spark.ml.param._
import org.apache.spark.ml.param.shared.HasFeaturesCol
import org.apache.spark.ml.linalg.SQLDataTypes
import org.apache.spark.sql.types._

/** What can be set about answering rows, on a CaffeModel, and on the CaffeEstimator that will make one. */
trait CaffeParams extends Params with HasFeaturesCol {
  final val inputs = new StringArrayParam(this, "inputs",
    "what fills the network: \"blob=column\" for each input; by default the first input is filled by featuresCol")
  final val outputs = new StringArrayParam(this, "outputs",
    "blobs that become columns: \"blob\", or \"blob=column\" for a column of another name; by default the network's outputs")
  final val predictionCol = new Param[String](this, "predictionCol",
    "column for the index of the largest value of the first output (the value itself, if it is one); empty: none")
  final val vectorOutput = new BooleanParam(this, "vectorOutput", "outputs as ML vectors instead of arrays of float")
  final val batchSize = new IntParam(this, "batchSize", "rows in one batch; by default as the network says, else 32",
    ParamValidators.gtEq(1))
  final val handleInvalid = new Param[String](this, "handleInvalid",
    "a row that the network cannot take is an error, or left out (skip), or kept with nulls as outputs (keep)",
    ParamValidators.inArray(CaffeParams.Choices))
  final val inputShapes = new StringArrayParam(this, "inputShapes",
    "what a row holds before it is cropped, where the network does not say it: \"data:3x227x227\"")
  final val resize = new BooleanParam(this, "resize", "resize pictures to the height and width that rows have before cropping")
  final val scale = new DoubleParam(this, "scale", "factor for pixels; by default as transform_param says")
  final val meanValues = new DoubleArrayParam(this, "meanValues",
    "subtracted from pixels, one value or one for each channel; by default as transform_param says")
  final val cropSize = new IntParam(this, "cropSize", "edge of the square cut from the middle; by default as transform_param says",
    ParamValidators.gtEq(0))
  final val stages = new StringArrayParam(this, "stages", "stages of the NetState, beside phase TEST")
  final val threads = new IntParam(this, "threads", "compute threads of a task; 0: as many as the task has cores",
    ParamValidators.gtEq(0))

  final val precision = new Param[String](this, "precision",
    "what is computed in: f32, or bf16, which is faster on processors that have it", ParamValidators.inArray(Precision.Names))

  setDefault(predictionCol -> "", vectorOutput -> false, handleInvalid -> CaffeParams.Error, resize -> false,
    stages -> Array.empty[String], threads -> 0)

  def getInputs: Array[String] = $(inputs)
  def getOutputs: Array[String] = $(outputs)
  def getPredictionCol: String = $(predictionCol)
  def getVectorOutput: Boolean = $(vectorOutput)
  def getBatchSize: Int = $(batchSize)
  def getHandleInvalid: String = $(handleInvalid)
  def getInputShapes: Array[String] = $(inputShapes)
  def getResize: Boolean = $(resize)
  def getScale: Double = $(scale)
  def getMeanValues: Array[Double] = $(meanValues)
  def getCropSize: Int = $(cropSize)
  def getStages: Array[String] = $(stages)
  def getThreads: Int = $(threads)
  def getPrecision: String = $(precision)

  def setFeaturesCol(value: String): this.type = set(featuresCol, value)
  def setInputs(value: Array[String]): this.type = set(inputs, value)
  def setOutputs(value: Array[String]): this.type = set(outputs, value)
  def setPredictionCol(value: String): this.type = set(predictionCol, value)
  def setVectorOutput(value: Boolean): this.type = set(vectorOutput, value)
  def setBatchSize(value: Int): this.type = set(batchSize, value)
  def setHandleInvalid(value: String): this.type = set(handleInvalid, value)
  def setInputShapes(value: Array[String]): this.type = set(inputShapes, value)
  def setResize(value: Boolean): this.type = set(resize, value)
  def setScale(value: Double): this.type = set(scale, value)
  def setMeanValues(value: Array[Double]): this.type = set(meanValues, value)
  def setCropSize(value: Int): this.type = set(cropSize, value)
  def setStages(value: Array[String]): this.type = set(stages, value)
  def setThreads(value: Int): this.type = set(threads, value)
  def setPrecision(value: String): this.type = set(precision, value)

  /** (blob, column) pairs; `known` are the network's inputs. */
  private[caffe] def inputColumns(known: Seq[String]): Seq[(String, String)] =
    if (isDefined(inputs) && $(inputs).nonEmpty) $(inputs).toSeq.map { text =>
      val (blob, column) = CaffeParams.pair(text)
      if (column.isEmpty) throw new IllegalArgumentException(s"inputs: '$text' is not of the form blob=column")
      (blob, column)
    }
    else known.headOption.map(_ -> $(featuresCol)).toSeq

  /** (blob, column) pairs. */
  private[caffe] def outputColumns: Seq[(String, String)] =
    if (!isDefined(outputs)) Nil
    else $(outputs).toSeq.map { text =>
      val (blob, column) = CaffeParams.pair(text)
      (blob, if (column.isEmpty) blob else column)
    }

  /** `schema` with the output columns behind it. */
  private[caffe] def withOutputs(schema: StructType, columns: Seq[String]): StructType = {
    val nullable = $(handleInvalid) == CaffeParams.Keep
    val kind = if ($(vectorOutput)) SQLDataTypes.VectorType else ArrayType(FloatType, containsNull = false)
    val added = columns.map(StructField(_, kind, nullable)) ++
      Seq($(predictionCol)).filter(_.nonEmpty).map(StructField(_, DoubleType, nullable))
    for ((field, i) <- added.zipWithIndex) {
      if (schema.fieldNames.contains(field.name) || added.take(i).exists(_.name == field.name)) {
        throw new IllegalArgumentException(s"column ${field.name} exists already; name the output's column with outputs = " +
          "\"blob=column\", or set predictionCol")
      }
    }
    StructType(schema.fields ++ added)
  }

  /** How a row of an input looks, and what is done to it. */
  private[caffe] def filledInput(input: ServingInput, column: String, schema: StructType): FilledInput = {
    val index = schema.fieldNames.indexOf(column)
    if (index < 0) {
      throw new IllegalArgumentException(s"column $column does not exist; the columns are ${schema.fieldNames.mkString(", ")}. " +
        "Set featuresCol, or inputs to \"blob=column\"")
    }
    val dataType = schema(index).dataType
    if (InputReader.kind(dataType).isEmpty) {
      throw new IllegalArgumentException(s"column $column has type ${dataType.simpleString}; a network takes ${InputReader.Readable}")
    }
    val stated = CaffeParams.shapes(if (isDefined(inputShapes)) $(inputShapes).toSeq else Nil).get(input.blob)
    val picture = transformation(input.transform)
    val crop = picture.getCropSize
    val guess = if (crop > 0) Some(Seq(if (picture.getForceGray) 1 else 3, crop, crop)) else None
    val record = stated.orElse(input.record).orElse(input.shape).orElse(guess).getOrElse(throw new IllegalArgumentException(
      s"nothing says how large a row of blob ${input.blob} is; set inputShapes, for example '${input.blob}:3x227x227'"))
    val isPicture = record.length == 3
    val cropped = if (isPicture && crop > 0) Seq(record.head, crop, crop) else record
    val shape = if (stated.isDefined) cropped else input.shape.filter(_.length != 3).getOrElse(cropped)
    if (shape.exists(_ < 1)) throw new IllegalArgumentException(s"blob ${input.blob} has rows of ${shape.mkString(" x ")}")
    FilledInput(input.blob, index, column, dataType, shape, record, if (isPicture) picture.toByteArray else Array.empty[Byte],
      $(resize))
  }

  /** The layer's transformation with what was set here. Mirroring is for training only. */
  private def transformation(layer: TransformationParameter): TransformationParameter = {
    val out = layer.toBuilder.clearMirror()
    if (isDefined(scale)) out.setScale($(scale).toFloat)
    if (isDefined(cropSize)) out.setCropSize($(cropSize))
    if (isDefined(meanValues)) {
      out.clearMeanFile().clearMeanValue()
      $(meanValues).foreach(value => out.addMeanValue(value.toFloat))
    }
    out.build()
  }
}

private[caffe] object CaffeParams {
  val Error = "error"
  val Skip = "skip"
  val Keep = "keep"
  val Choices: Array[String] = Array(Error, Skip, Keep)

  /** "a=b" -> (a, b); "a" -> (a, ""). */
  def pair(text: String): (String, String) = {
    val at = text.indexOf('=')
    if (at < 0) (text.trim, "") else (text.take(at).trim, text.drop(at + 1).trim)
  }

  /** "data:3x227x227" -> data -> (3, 227, 227). */
  def shapes(texts: Seq[String]): Map[String, Seq[Int]] = texts.map { text =>
    val at = text.lastIndexOf(':')
    val extents = text.drop(at + 1).split("[x,]").toSeq.map(_.trim)
    if (at < 1 || !extents.forall(_.matches("[1-9][0-9]{0,8}"))) {
      throw new IllegalArgumentException(s"inputShapes: '$text' is not of the form blob:channels x height x width, " +
        "like \"data:3x227x227\"")
    }
    text.take(at).trim -> extents.map(_.toInt)
  }.toMap
}
