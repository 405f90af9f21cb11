package com.yahoo.ml.caffe

import java.nio.file.{Files, Path, Paths}
import java.security.{Provider, SecureRandom, SecureRandomSpi, Security}
import java.util.concurrent.ConcurrentLinkedQueue

import com.yahoo.ml.caffe.engine.Communicator

import scala.collection.mutable
import scala.jdk.CollectionConverters._
import scala.util.Try

/** Calls each port that native code of these processes opens from now on, as rank 1 of two, until it is closed. */
final class Stranger(pids: Set[Long], secret: => Array[Byte]) extends AutoCloseable {
  private val known = mutable.Set(Stranger.listeners(pids).toSeq: _*)
  private val errors = new ConcurrentLinkedQueue[String]
  @volatile private var closed = false
  private val thread = start("stranger") {
    while (!closed) {
      Stranger.listeners(pids).filter(known.add(_)).foreach(address => start(s"call-$address")(call(address)))
      Thread.sleep(2)
    }
  }

  /** How the calls ended. */
  def answers: Seq[String] = errors.iterator.asScala.toSeq

  private def start(name: String)(body: => Unit): Thread = {
    val thread = new Thread(() => body, name)
    thread.setDaemon(true)
    thread.start()
    thread
  }

  private def call(address: String): Unit = {
    val settings = GroupSettings.options(new org.apache.spark.SparkConf(false), "tcp")
    val communicator = Communicator.create(settings.asJava)
    try communicator.connect(1, Array(address, communicator.localAddress), secret, "another attempt", 1L, 60000)
    catch { case e: Exception => errors.add(e.getMessage) }
    finally communicator.close()
  }

  override def close(): Unit = {
    closed = true
    thread.join()
  }
}

object Stranger {
  private val Listening = "0A"
  private val socket = "socket:\\[(\\d+)\\]".r

  /** host:port of sockets for IPv4; those of Java are for IPv6. */
  private def listeners(pids: Set[Long]): Set[String] = {
    val inodes = pids.flatMap(pid => links(Paths.get(s"/proc/$pid/fd"))).collect { case socket(inode) => inode }
    val rows = Files.readAllLines(Paths.get("/proc/net/tcp")).asScala.drop(1).map(_.trim.split("\\s+"))
    rows.filter(row => row(3) == Listening && inodes.contains(row(9))).map(row => endpoint(row(1))).toSet
  }

  private def links(folder: Path): Seq[String] = Try {
    val all = Files.list(folder)
    try all.iterator.asScala.flatMap(link => Try(Files.readSymbolicLink(link).toString).toOption).toList
    finally all.close()
  }.getOrElse(Nil)

  /** From "0100007F:1F90". */
  private def endpoint(hexadecimal: String): String = {
    val Array(address, port) = hexadecimal.split(':')
    val bytes = address.grouped(2).toSeq.reverse.map(Integer.parseInt(_, 16))
    s"${bytes.mkString(".")}:${Integer.parseInt(port, 16)}"
  }
}

/** Keeps the secrets that this process draws while `body` runs, as somebody who is in the know has them. */
object Secrets extends Provider("Secrets", "1", "keeps random bytes") {
  private val Bytes = 32
  private val drawn = new ConcurrentLinkedQueue[Array[Byte]]
  put("SecureRandom.Kept", classOf[KeptRandom].getName)

  def kept[A](body: => A): A = {
    drawn.clear()
    Security.insertProviderAt(this, 1)
    try body
    finally Security.removeProvider(getName)
  }

  /** That of the run which began first. */
  def first: Array[Byte] = drawn.peek()

  def keep(bytes: Array[Byte]): Unit = if (bytes.length == Bytes) drawn.add(bytes.clone())
}

final class KeptRandom extends SecureRandomSpi {
  private val real = SecureRandom.getInstance("NativePRNG", "SUN")

  override def engineSetSeed(seed: Array[Byte]): Unit = real.setSeed(seed)

  override def engineNextBytes(bytes: Array[Byte]): Unit = {
    real.nextBytes(bytes)
    Secrets.keep(bytes)
  }

  override def engineGenerateSeed(count: Int): Array[Byte] = real.generateSeed(count)
}
