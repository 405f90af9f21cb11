package com.yahoo.ml.caffe

import caffe.Caffe.{NetParameter, SolverParameter}
import com.yahoo.ml.caffe.shaded.protobuf.TextFormat
import org.apache.spark.ml.param._
import org.apache.spark.ml.param.shared.{HasLabelCol, HasMaxIter, HasValidationIndicatorCol}

import scala.jdk.CollectionConverters._

/** What can be set about training. What is not set is as the solver's prototxt says. */
trait CaffeTrainParams extends CaffeParams with HasLabelCol with HasMaxIter with HasValidationIndicatorCol {
  final val solver = new Param[String](this, "solver", "the solver's prototxt, its text")
  final val network = new Param[String](this, "network", "the network's prototxt, its text; else the one that the solver names")
  final val baseLr = new DoubleParam(this, "baseLr", "base_lr: the learning rate at the start", ParamValidators.gt(0))
  final val momentum = new DoubleParam(this, "momentum", "momentum", ParamValidators.gtEq(0))
  final val weightDecay = new DoubleParam(this, "weightDecay", "weight_decay", ParamValidators.gtEq(0))
  final val lrPolicy = new Param[String](this, "lrPolicy", "lr_policy: fixed, step, exp, inv, multistep, poly, sigmoid")
  final val gamma = new DoubleParam(this, "gamma", "gamma, of lr_policy")
  final val power = new DoubleParam(this, "power", "power, of lr_policy")
  final val stepSize = new IntParam(this, "stepSize", "stepsize, of lr_policy", ParamValidators.gtEq(1))
  final val stepValues = new IntArrayParam(this, "stepValues", "stepvalue, of lr_policy multistep")
  final val solverType = new Param[String](this, "solverType", "type: SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam")
  final val iterSize = new IntParam(this, "iterSize", "iter_size: batches whose gradients are averaged", ParamValidators.gtEq(1))
  final val clipGradients = new DoubleParam(this, "clipGradients", "clip_gradients", ParamValidators.gt(0))
  final val seed = new LongParam(this, "seed", "random_seed; drawn and logged if neither says it", ParamValidators.gtEq(0))
  final val numWorkers = new IntParam(this, "numWorkers",
    "workers that train together (clusterSize); each takes batchSize rows in an iteration", ParamValidators.gtEq(1))
  final val validationInterval = new IntParam(this, "validationInterval", "test_interval: iterations between validation rounds",
    ParamValidators.gtEq(1))
  final val earlyStoppingRounds = new IntParam(this, "earlyStoppingRounds",
    "stop once so many validation rounds brought nothing better, and keep the best weights; 0: never", ParamValidators.gtEq(0))
  final val monitor = new Param[String](this, "monitor",
    "the network's output that early stopping watches: one named after a loss or an error shall fall, others shall rise")
  final val display = new IntParam(this, "display", "iterations between progress lines, and points of the model's curve",
    ParamValidators.gtEq(1))
  final val initialWeights = new Param[String](this, "initialWeights", "models to start from: paths with commas between")
  final val shuffle = new BooleanParam(this, "shuffle",
    "read the rows in another order in every epoch; else always in their own, which must not be sorted by label")
  final val workDir = new Param[String](this, "workDir",
    "a folder that the driver and all executors see, for the solver's snapshots: with it a lost executor costs only the work " +
      "since the last one; it is empty again after training")

  setDefault(predictionCol -> "prediction", earlyStoppingRounds -> 0, monitor -> "loss", shuffle -> true)

  def getSolver: String = $(solver)
  def getNetwork: String = $(network)
  def getBaseLr: Double = $(baseLr)
  def getMomentum: Double = $(momentum)
  def getWeightDecay: Double = $(weightDecay)
  def getLrPolicy: String = $(lrPolicy)
  def getGamma: Double = $(gamma)
  def getPower: Double = $(power)
  def getStepSize: Int = $(stepSize)
  def getStepValues: Array[Int] = $(stepValues)
  def getSolverType: String = $(solverType)
  def getIterSize: Int = $(iterSize)
  def getClipGradients: Double = $(clipGradients)
  def getSeed: Long = $(seed)
  def getNumWorkers: Int = $(numWorkers)
  def getValidationInterval: Int = $(validationInterval)
  def getEarlyStoppingRounds: Int = $(earlyStoppingRounds)
  def getMonitor: String = $(monitor)
  def getDisplay: Int = $(display)
  def getInitialWeights: String = $(initialWeights)
  def getShuffle: Boolean = $(shuffle)
  def getWorkDir: String = $(workDir)

  /** The solver's prototxt: a path, or its text. The network that it names is taken along. */
  def setSolver(pathOrText: String): this.type = set(solver, NetSource.solverText(pathOrText))

  def setSolver(message: SolverParameter): this.type = setSolver(TextFormat.printer().printToString(message) + "\n")

  /** The network's prototxt: a path, or its text. */
  def setNetwork(pathOrText: String): this.type = set(network, NetSource.text(pathOrText))

  def setNetwork(message: NetParameter): this.type = setNetwork(TextFormat.printer().printToString(message) + "\n")

  def setLabelCol(value: String): this.type = set(labelCol, value)
  def setMaxIter(value: Int): this.type = set(maxIter, value)
  def setValidationIndicatorCol(value: String): this.type = set(validationIndicatorCol, value)
  def setBaseLr(value: Double): this.type = set(baseLr, value)
  def setMomentum(value: Double): this.type = set(momentum, value)
  def setWeightDecay(value: Double): this.type = set(weightDecay, value)
  def setLrPolicy(value: String): this.type = set(lrPolicy, value)
  def setGamma(value: Double): this.type = set(gamma, value)
  def setPower(value: Double): this.type = set(power, value)
  def setStepSize(value: Int): this.type = set(stepSize, value)
  def setStepValues(value: Array[Int]): this.type = set(stepValues, value)
  def setSolverType(value: String): this.type = set(solverType, value)
  def setIterSize(value: Int): this.type = set(iterSize, value)
  def setClipGradients(value: Double): this.type = set(clipGradients, value)
  def setSeed(value: Long): this.type = set(seed, value)
  def setNumWorkers(value: Int): this.type = set(numWorkers, value)
  def setValidationInterval(value: Int): this.type = set(validationInterval, value)
  def setEarlyStoppingRounds(value: Int): this.type = set(earlyStoppingRounds, value)
  def setMonitor(value: String): this.type = set(monitor, value)
  def setDisplay(value: Int): this.type = set(display, value)
  def setInitialWeights(value: String): this.type = set(initialWeights, value)
  def setShuffle(value: Boolean): this.type = set(shuffle, value)
  def setWorkDir(value: String): this.type = set(workDir, value)

  /** Sets a Param by its name, or by the name of the solver's or the layer's field: baseLr or base_lr. */
  def setParam(name: String, value: Any): this.type = {
    val known = CaffeTrainParams.paramName(name)
    if (!hasParam(known)) {
      throw new IllegalArgumentException(s"there is no Param $name; known are ${params.map(_.name).mkString(", ")}")
    }
    (known, value) match {
      case ("solver", text: String) => setSolver(text)
      case ("solver", message: SolverParameter) => setSolver(message)
      case ("network", text: String) => setNetwork(text)
      case ("network", message: NetParameter) => setNetwork(message)
      case _ => set(getParam(known).asInstanceOf[Param[Any]], CaffeTrainParams.converted(getParam(known), value))
    }
    this
  }

  /** The solver's message with everything that was set here; without networks. */
  private[caffe] def solverMessage(base: SolverParameter): SolverParameter = {
    val out = base.toBuilder.clearNet().clearNetParam().clearTrainNet().clearTrainNetParam().clearTestNet().clearTestNetParam()
      .clearWeights()
    def change[T](param: Param[T])(body: T => Any): Unit = if (isDefined(param)) body($(param))
    change(baseLr)(v => out.setBaseLr(v.toFloat))
    change(momentum)(v => out.setMomentum(v.toFloat))
    change(weightDecay)(v => out.setWeightDecay(v.toFloat))
    change(lrPolicy)(out.setLrPolicy)
    change(gamma)(v => out.setGamma(v.toFloat))
    change(power)(v => out.setPower(v.toFloat))
    change(stepSize)(out.setStepsize(_))
    change(stepValues)(v => out.clearStepvalue().addAllStepvalue(v.toSeq.map(Int.box).asJava))
    change(solverType)(out.setType)
    change(precision)(v => out.setPrecision(Precision.field(v)))
    change(iterSize)(out.setIterSize(_))
    change(clipGradients)(v => out.setClipGradients(v.toFloat))
    change(seed)(out.setRandomSeed(_))
    change(maxIter)(out.setMaxIter(_))
    change(display)(out.setDisplay(_))
    change(validationInterval)(out.setTestInterval(_))
    if (!out.hasMaxIter) {
      throw new IllegalArgumentException("nothing says how long to train; set maxIter, or max_iter in the solver")
    }
    if (!out.hasDisplay || out.getDisplay < 1) out.setDisplay(math.max(1, out.getMaxIter / CaffeTrainParams.Points))
    out.build()
  }
}

private[caffe] object CaffeTrainParams {
  private val Points = 50

  private val special = Map("type" -> "solverType", "stepsize" -> "stepSize", "stepvalue" -> "stepValues",
    "random_seed" -> "seed", "test_interval" -> "validationInterval", "clusterSize" -> "numWorkers", "net" -> "network",
    "cluster_size" -> "numWorkers", "weights" -> "initialWeights")

  /** base_lr -> baseLr */
  def paramName(name: String): String = special.getOrElse(name, {
    val words = name.split('_')
    words.head + words.tail.map(_.capitalize).mkString
  })

  def converted(param: Param[_], value: Any): Any = (param, value) match {
    case (_: DoubleParam, n: java.lang.Number) => n.doubleValue
    case (_: IntParam, n: java.lang.Number) => n.intValue
    case (_: LongParam, n: java.lang.Number) => n.longValue
    case (_: StringArrayParam, values: Iterable[_]) => values.map(_.toString).toArray
    case (_: IntArrayParam, values: Iterable[_]) => values.map(_.asInstanceOf[Number].intValue).toArray
    case (_: DoubleArrayParam, values: Iterable[_]) => values.map(_.asInstanceOf[Number].doubleValue).toArray
    case _ => value
  }
}
