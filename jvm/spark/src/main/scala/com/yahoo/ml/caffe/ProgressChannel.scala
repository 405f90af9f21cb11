package com.yahoo.ml.caffe

import java.io.{BufferedReader, DataInputStream, IOException, InputStreamReader}
import java.net.{InetAddress, InetSocketAddress, ServerSocket, Socket}
import java.nio.charset.StandardCharsets.UTF_8
import java.security.{MessageDigest, SecureRandom}
import java.util.concurrent.ConcurrentHashMap
import javax.crypto.Mac
import javax.crypto.spec.SecretKeySpec

import org.slf4j.LoggerFactory

import scala.util.control.NonFatal

/**
 * Lines of text from worker 0 to the driver while a job runs; Spark itself reports only when a task ends. A sender proves
 * that it knows the job's secret, and gets one line in answer: what the driver knows. Nothing here ever fails the job:
 * without the channel there are just no lines.
 */
private[caffe] object ProgressChannel {
  private val log = LoggerFactory.getLogger("com.yahoo.ml.caffe.Progress")
  private val NonceBytes = 32
  private val TimeoutMillis = 10000
  private val RetryMillis = 100L // where files are scarce, for example
  private val LastLinesMillis = 1000
  private val MaxLine = 1 << 16
  private val MaxAnswer = 1 << 8

  final case class Address(host: String, port: Int)

  private def proof(secret: Array[Byte], nonce: Array[Byte]): Array[Byte] = {
    val mac = Mac.getInstance("HmacSHA256")
    mac.init(new SecretKeySpec(secret, "HmacSHA256"))
    mac.update("progress".getBytes(UTF_8))
    mac.doFinal(nonce)
  }

  /**
   * The driver's end: gives each line to `show`, those of one sender in order. Each has a thread, because a worker 0 that
   * was lost may keep its connection for long.
   */
  final class Server(host: String, bind: String, secret: Array[Byte], known: () => String, show: String => Unit)
      extends AutoCloseable {
    private val socket = new ServerSocket(0, 8, InetAddress.getByName(bind))
    private val senders = new ConcurrentHashMap[Socket, Thread]
    @volatile private var open = true
    start(() => serve())

    def address: Address = Address(host, socket.getLocalPort)

    private def start(body: () => Unit): Thread = {
      val thread = new Thread(() => body(), "caffe-progress")
      thread.setDaemon(true)
      thread.start()
      thread
    }

    private def serve(): Unit = while (open) {
      try {
        val peer = socket.accept()
        start(() => serve(peer))
      } catch {
        case NonFatal(e) => if (open) {
          log.debug("a progress connection could not be accepted", e)
          Thread.sleep(RetryMillis)
        }
      }
    }

    private def serve(peer: Socket): Unit =
      try {
        senders.put(peer, Thread.currentThread)
        receive(peer)
      }
      catch { case NonFatal(e) => if (open) log.debug("progress connection ended", e) }
      finally {
        peer.close()
        senders.remove(peer)
      }

    private def receive(peer: Socket): Unit = {
      peer.setSoTimeout(TimeoutMillis)
      val nonce = new Array[Byte](NonceBytes)
      new SecureRandom().nextBytes(nonce)
      peer.getOutputStream.write(nonce)
      val answer = new Array[Byte](NonceBytes)
      new DataInputStream(peer.getInputStream).readFully(answer)
      if (MessageDigest.isEqual(answer, proof(secret, nonce))) {
        peer.getOutputStream.write((known() + "\n").getBytes(UTF_8))
        peer.setSoTimeout(0)
        val lines = new BufferedReader(new InputStreamReader(peer.getInputStream, UTF_8), MaxLine)
        Iterator.continually(lines.readLine()).takeWhile(_ != null).foreach(show)
      } else log.warn("a progress connection from {} did not know the job's secret", peer.getInetAddress)
    }

    /** Lines that have arrived are still shown. */
    override def close(): Unit = {
      open = false
      socket.close()
      senders.forEach { (peer, thread) =>
        thread.join(LastLinesMillis)
        peer.close()
      }
    }
  }

  object Server {
    /** None where the driver cannot listen. */
    def start(host: String, bind: String, secret: Array[Byte], known: () => String, show: String => Unit): Option[Server] =
      try Some(new Server(host, bind, secret, known, show))
      catch {
        case NonFatal(e) =>
          log.warn(s"no progress lines: the driver cannot listen on $bind: $e")
          None
      }
  }

  /** Worker 0's end. */
  final class Client(address: Option[Address], secret: Array[Byte]) extends AutoCloseable {
    private var answer = ""
    private var socket: Option[Socket] = address.flatMap(connect)

    /** What the driver knew when this worker called; empty where it was not reached. */
    def known: String = answer

    private def connect(to: Address): Option[Socket] = {
      val socket = new Socket
      try {
        socket.connect(new InetSocketAddress(to.host, to.port), TimeoutMillis)
        socket.setSoTimeout(TimeoutMillis)
        socket.setTcpNoDelay(true)
        val nonce = new Array[Byte](NonceBytes)
        new DataInputStream(socket.getInputStream).readFully(nonce)
        socket.getOutputStream.write(proof(secret, nonce))
        val line = new BufferedReader(new InputStreamReader(socket.getInputStream, UTF_8), MaxAnswer).readLine()
        answer = Option(line).getOrElse(throw new IOException("it does not know this job"))
        Some(socket)
      } catch {
        case NonFatal(e) =>
          socket.close()
          log.warn(s"no progress lines on the driver: it cannot be reached at ${to.host}:${to.port}: $e")
          None
      }
    }

    /** From any thread. */
    def send(line: String): Unit = synchronized(socket.foreach { s =>
      try s.getOutputStream.write((line.replace('\n', ' ') + "\n").getBytes(UTF_8))
      catch {
        case NonFatal(e) =>
          log.warn(s"no more progress lines on the driver: $e")
          close()
      }
    })

    override def close(): Unit = synchronized {
      socket.foreach(_.close())
      socket = None
    }
  }
}
