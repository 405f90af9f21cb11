package com.yahoo.ml.caffe

import caffe.Caffe.{NetParameter, SolverParameter}
import org.apache.spark.SparkContext
import org.slf4j.{Logger, LoggerFactory}

/**
 * What a job does: the options of the command line, each also a property. Setting `protoFile` reads the solver and its
 * network at once, so that a mistake in them shows here and not on an executor.
 */
class Config(@transient private val sc: SparkContext) extends java.io.Serializable {
  import Config.log

  private var protoFile_ = ""
  private var solverBytes: Array[Byte] = _
  private var trainNetBytes: Array[Byte] = _
  private var testNetBytes: Array[Byte] = _
  @transient private lazy val parsedSolver = SolverParameter.parseFrom(loaded(solverBytes))
  @transient private lazy val parsedTrainNet = NetParameter.parseFrom(loaded(trainNetBytes))
  @transient private lazy val parsedTestNet = NetParameter.parseFrom(loaded(testNetBytes))
  private var test_ = false
  private var feature_ = false
  private var label_ = "label"
  private var features_ : Array[String] = _
  private var devices_ = 1
  private var connection_ = Config.Socket
  private var transport_ = "tcp"
  private var clusterSize_ = 0
  private var lmdbPartitions_ = 0
  private var precision_ = ""
  private val sparkSettings = Config.sparkSettings(sc)

  /** From command line arguments; the order of the flags does not matter. */
  def this(sc: SparkContext, args: Array[String]) = {
    this(sc)
    read(Flags.parse(args))
  }

  /** Train a model? */
  var isTraining: Boolean = false
  /** Where the trained model goes, or, for test and features, where it comes from. Any Hadoop URI. */
  var modelPath: String = ""
  /** Where features or test results go. */
  var outputPath: String = "output"
  /** Keep the RDD of the training data on disk? */
  var isRddPersistent: Boolean = false
  /** A .solverstate[.h5] to resume from; needs snapshotModelFile. */
  var snapshotStateFile: String = ""
  /** A .caffemodel[.h5] to start from, or several with commas between. */
  var snapshotModelFile: String = ""
  /** Go on where an earlier run with the same arguments was interrupted? */
  var isResumed: Boolean = false
  /** Train on with fewer workers where executors were lost for good? */
  var isElastic: Boolean = false
  /** Any format of Spark's DataFrameWriter. */
  var outputFormat: String = "json"
  /** Threads that transform images, per device. */
  var transform_thread_per_device: Int = 1

  /** The solver's prototxt. */
  def protoFile: String = protoFile_

  def protoFile_=(file: String): Unit = {
    use(SolverFiles.read(file), file)
  }

  /** What `file` stands for, already read. */
  private[caffe] def use(read: SolverFiles, file: String): Unit = {
    protoFile_ = file
    solverBytes = read.solver.toByteArray
    trainNetBytes = read.trainNet.toByteArray
    testNetBytes = read.testNet.toByteArray
  }

  /** The solver as its file has it. */
  def solverParameter: SolverParameter = parsedSolver

  /** The network as its file has it, all phases. */
  def netParam: NetParameter = parsedTrainNet

  private[caffe] def testNetParam: NetParameter = parsedTestNet

  /** Index of the data layer of the TRAIN phase, -1 if there is none. */
  def train_data_layer_id: Int = Nets.dataLayer(netParam, Nets.trainState(solverParameter, netParam))

  /** Index of the data layer of the TEST phase, -1 if there is none. */
  def test_data_layer_id: Int = Nets.dataLayer(testNetParam, Nets.testState(solverParameter, testNetParam))

  /** Test a model? Takes the place of isFeature. */
  def isTest: Boolean = test_

  def isTest_=(on: Boolean): Unit = {
    if (on && feature_) log.warn("test mode replaces feature mode")
    test_ = on
    if (on) feature_ = false
  }

  /** Extract features? Takes the place of isTest. */
  def isFeature: Boolean = feature_

  def isFeature_=(on: Boolean): Unit = {
    if (on && test_) log.warn("feature mode replaces test mode")
    feature_ = on
    if (on) test_ = false
  }

  /** The blob of the labels; features contain it. */
  def label: String = label_

  def label_=(blob: String): Unit = {
    label_ = blob
    if (features_ != null) features_ = withLabel(features_)
  }

  /** The blobs to be extracted; null where none were named. */
  def features: Array[String] = features_

  def features_=(blobs: Array[String]): Unit = features_ = if (blobs == null) null else withLabel(blobs)

  private def withLabel(blobs: Array[String]): Array[String] =
    if (label_ == null || label_.isEmpty || blobs.contains(label_)) blobs else blobs :+ label_

  /** Solver replicas inside one executor. */
  def devices: Int = devices_

  def devices_=(count: Int): Unit = {
    if (count < 1) throw new IllegalArgumentException(s"-devices must be at least 1, not $count")
    devices_ = count
  }

  /** How workers talk to each other: 0 not at all, 1 InfiniBand, 2 Ethernet. */
  def connection: Int = connection_

  def connection_=(kind: Int): Unit = {
    if (kind < Config.None || kind > Config.Socket) {
      throw new IllegalArgumentException(s"connection must be 0 (none), 1 (infiniband) or 2 (ethernet), not $kind")
    }
    connection_ = kind
    transport_ = if (kind == Config.Rdma) "infiniband" else "tcp"
  }

  /** The native transport that -connection names. */
  private[caffe] def transport: String = transport_

  /** The number of workers: by the rules of the cluster manager, else as set, else as many as Spark can run now. */
  def clusterSize: Int = if (clusterSize_ > 0) clusterSize_ else sparkSettings.workers.getOrElse(executorsNow)

  @transient private lazy val executorsNow = if (sc == null) 1 else Cluster.executorsNow(sc)

  def clusterSize_=(count: Int): Unit = {
    if (count < 1) throw new IllegalArgumentException(s"-clusterSize must be at least 1, not $count")
    clusterSize_ = count
  }

  /** Partitions of an RDD over an LMDB. */
  def lmdb_partitions: Int = if (lmdbPartitions_ > 0) lmdbPartitions_ else clusterSize

  def lmdb_partitions_=(count: Int): Unit = {
    if (count < 1) throw new IllegalArgumentException(s"-lmdb_partitions must be at least 1, not $count")
    lmdbPartitions_ = count
  }

  /** What training, validation, test and features compute in, f32 or bf16: as set, else as the solver says. */
  def precision: String =
    if (precision_.nonEmpty) precision_ else if (solverBytes == null) Precision.F32 else Precision.of(solverParameter)

  def precision_=(name: String): Unit = {
    if (!Precision.Names.contains(name)) throw new IllegalArgumentException(s"-precision must be f32 or bf16, not $name")
    precision_ = name
  }

  /** Resize images to the size that their layer gives? */
  var resize: Boolean = false
  /** Tools: the folder of the images, or of the LMDB; null where not given. */
  var imageRoot: String = _
  /** Tools: lines of a file name and a label. */
  var labelFile: String = _
  /** Tools: captions in COCO's JSON. */
  var captionFile: String = ""
  /** Tools: words of a caption, with the end. */
  var captionLength: Int = 20
  /** Tools: words of a vocabulary; -1 for all. */
  var vocabSize: Int = -1
  /** Tools: where the DataFrame of images and captions goes, below the output. */
  var imageCaptionDFDir: String = ""
  /** Tools: where the vocabulary goes, below the output. */
  var vocabDir: String = ""
  /** Tools: where the DataFrame of images and numbered captions goes, below the output. */
  var embeddingDFDir: String = ""

  private[caffe] def spark: Config.SparkSettings = sparkSettings

  private def read(flags: Flags): Unit = {
    flags.stray.foreach(token => log.warn("'{}' is not a flag and has no effect", token))
    flags.text("label").foreach(label = _)
    if (!flags.has("label")) label_ = ""
    flags.list("features").foreach(features = _)
    isTraining = flags.has("train")
    if (flags.has("features")) isFeature = true
    else isTest = flags.has("test")
    flags.text("model").foreach(modelPath = _)
    flags.text("output").foreach(outputPath = _)
    flags.text("outputFormat").foreach(outputFormat = _)
    flags.text("snapshot").foreach(snapshotStateFile = _)
    flags.text("weights").foreach(snapshotModelFile = _)
    isRddPersistent = flags.has("persistent")
    resize = flags.has("resize")
    isResumed = flags.has("resume")
    isElastic = flags.has("elastic")
    flags.int("devices").foreach(devices = _)
    readToolFlags(flags)
    flags.int("lmdb_partitions").foreach(lmdb_partitions = _)
    flags.int("clusterSize").foreach(readClusterSize)
    flags.text("connection").foreach(readConnection)
    flags.text("precision").foreach(precision = _)
    flags.text("conf").foreach(protoFile = _)
  }

  private def readToolFlags(flags: Flags): Unit = {
    flags.text("imageRoot").foreach(imageRoot = _)
    flags.text("labelFile").foreach(labelFile = _)
    flags.text("captionFile").foreach(captionFile = _)
    flags.int("captionLength").foreach(captionLength = _)
    flags.int("vocabSize").foreach(vocabSize = _)
    flags.text("imageCaptionDFDir").foreach(imageCaptionDFDir = _)
    flags.text("vocabDir").foreach(vocabDir = _)
    flags.text("embeddingDFDir").foreach(embeddingDFDir = _)
  }

  private def readClusterSize(count: Int): Unit = sparkSettings.workers match {
    case Some(workers) =>
      if (workers != count) {
        log.warn(s"-clusterSize $count has no effect: ${sparkSettings.workersSetBy} says $workers workers")
      }
    case scala.None => clusterSize = count
  }

  private def readConnection(name: String): Unit = name match {
    case "ethernet" => connection = Config.Socket
    case "infiniband" => connection = Config.Rdma
    case other if other.matches("[A-Za-z0-9_]+") => transport_ = other
    case other => throw new IllegalArgumentException(
      s"-connection must be ethernet, infiniband or the name of a transport (letters, digits and '_'), not $other")
  }

  private def loaded(bytes: Array[Byte]): Array[Byte] = {
    if (bytes == null) {
      throw new IllegalArgumentException("-conf is missing; name the solver's prototxt with -conf solver.prototxt")
    }
    bytes
  }

  private def text(set: Int, otherwise: Option[Int]): String =
    if (set > 0) set.toString else otherwise.fold("as executors")(_.toString)

  override def toString: String =
    s"Config(protoFile=$protoFile, isTraining=$isTraining, isTest=$isTest, isFeature=$isFeature, " +
      s"features=${if (features == null) "none" else features.mkString(",")}, label=$label, modelPath=$modelPath, " +
      s"outputPath=$outputPath, outputFormat=$outputFormat, snapshotStateFile=$snapshotStateFile, " +
      s"snapshotModelFile=$snapshotModelFile, clusterSize=${text(clusterSize_, sparkSettings.workers)}, " +
      s"lmdb_partitions=${text(lmdbPartitions_, scala.None)}, " +
      s"devices=$devices, connection=$connection, precision=$precision)"
}

object Config {
  private[caffe] val None = 0
  private[caffe] val Rdma = 1
  private[caffe] val Socket = 2
  private[caffe] val log: Logger = LoggerFactory.getLogger(classOf[Config])

  /** What Spark's configuration says about the number of workers, and by which property. */
  private[caffe] final case class SparkSettings(workers: Option[Int], workersSetBy: String, dynamic: Boolean)

  private def sparkSettings(sc: SparkContext): SparkSettings = {
    val conf = sc.getConf
    if (conf.getBoolean("spark.dynamicAllocation.enabled", defaultValue = false)) {
      val workers = math.max(1, conf.getInt("spark.dynamicAllocation.minExecutors", 1))
      SparkSettings(Some(workers), "spark.dynamicAllocation.minExecutors", dynamic = true)
    } else if (sc.master.startsWith("yarn") && conf.contains("spark.executor.instances")) {
      SparkSettings(Some(conf.getInt("spark.executor.instances", 1)), "spark.executor.instances", dynamic = false)
    } else SparkSettings(scala.None, "", dynamic = false)
  }
}
