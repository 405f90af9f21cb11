package com.yahoo.ml.caffe

import java.nio.file.Paths

import org.apache.spark.{SparkConf, SparkFiles}

/** What Spark's properties say about how workers talk to each other. */
private[caffe] object GroupSettings {
  /** Network interface (address, host or device name) that workers use; chosen if not set. */
  val Interface = "spark.caffe.interface"
  /** How gradients travel: float32, or bf16 for half the bytes. */
  val Wire = "spark.caffe.wire"
  /** How long workers wait for each other while they connect. */
  val Timeout = "spark.caffe.timeout"
  /** Pause between heartbeats. */
  val Heartbeat = "spark.caffe.heartbeat"
  /** A worker without heartbeats is given up after it. */
  val Silence = "spark.caffe.silence"
  /** An exchange in which nothing moves, though all workers are alive, is given up after it. */
  val Progress = "spark.caffe.progressTimeout"

  /** Folders on the workers' hosts, separated by ':', with transports from outside (-connection NAME). */
  val TransportPath = "spark.caffe.transportPath"

  /** Whether workers encrypt what they send each other; as Spark does, if not set. */
  val Encrypt = "spark.caffe.encrypt"

  /** Whether workers of one host exchange data through memory that both map. */
  val ShareMemory = "spark.caffe.shareMemory"

  /** Any of these asks Spark to encrypt what its processes send each other. */
  private val SparkEncrypts = Seq("spark.network.crypto.enabled", "spark.ssl.enabled", "spark.ssl.rpc.enabled",
    "spark.authenticate.enableSaslEncryption")
  private val Wires = Seq("float32", "bf16")

  /** The options of caffe_comm_create. */
  def options(conf: SparkConf, transport: String): Map[String, String] = {
    val wire = conf.get(Wire, "float32")
    if (!Wires.contains(wire)) throw new IllegalArgumentException(s"$Wire must be ${Wires.mkString(" or ")}, not $wire")
    val heartbeat = millis(conf, Heartbeat, "1s")
    val silence = millis(conf, Silence, "25s")
    if (silence < 2 * heartbeat) {
      throw new IllegalArgumentException(s"$Silence ($silence ms) must be at least twice $Heartbeat ($heartbeat ms)")
    }
    Map("interface" -> conf.get(Interface, ""), "transport" -> transport,
      "transport_path" -> conf.get(TransportPath, ""), "wire" -> wire,
      "encrypt" -> flag(encrypts(conf)), "share_memory" -> flag(conf.getBoolean(ShareMemory, defaultValue = true)),
      "heartbeat_ms" -> heartbeat.toString,
      "silence_ms" -> silence.toString, "progress_ms" -> millis(conf, Progress, "600s").toString)
  }

  private def flag(value: Boolean): String = if (value) "1" else "0"

  private def encrypts(conf: SparkConf): Boolean =
    conf.getBoolean(Encrypt, SparkEncrypts.exists(conf.getBoolean(_, defaultValue = false)))

  /** These options on a worker, where files of --files may hold the transport. */
  def onWorker(options: Map[String, String]): Map[String, String] = {
    val folders = Seq(options("transport_path"), Paths.get("").toAbsolutePath.toString, SparkFiles.getRootDirectory())
    options + ("transport_path" -> folders.filter(_.nonEmpty).distinct.mkString(":"))
  }

  def connectMillis(conf: SparkConf): Long = millis(conf, Timeout, "60s")

  def millis(conf: SparkConf, property: String, default: String): Long = {
    val value = try conf.getTimeAsMs(property, default)
    catch {
      case e: NumberFormatException => throw new IllegalArgumentException(s"$property is no time: ${e.getMessage}")
    }
    if (value < 1) throw new IllegalArgumentException(s"$property must be positive, not ${conf.get(property)}")
    value
  }
}
