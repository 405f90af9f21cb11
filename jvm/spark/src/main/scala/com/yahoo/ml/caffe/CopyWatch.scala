package com.yahoo.ml.caffe

import java.io.IOException
import java.nio.file.{Files, Paths, Path => LocalPath}

import scala.jdk.CollectionConverters._
import scala.util.Try

/**
 * Tells whether a copy that somebody else makes in the folder `part` goes on: what is there grows. Any thread may ask, as often
 * as it likes; the disk is looked at ten times in `patienceMillis`, at most every second.
 */
private[caffe] final class CopyWatch(part: LocalPath, patienceMillis: Long, clockMillis: () => Long = () => System.nanoTime() / 1000000) {
  private val pause = math.min(1000, patienceMillis / 10)
  private var seen = Map.empty[String, Long]
  private var (began, looked) = (0L, 0L)
  private var waiting = false

  /** Has nothing come since somebody first waited, for so long? */
  def stalled(): Boolean = synchronized {
    val now = clockMillis()
    if (!waiting || now - looked >= pause) {
      val found = there()
      if (!waiting || found != seen) {
        seen = found
        began = now
      }
      looked = now
      waiting = true
    }
    now - began > patienceMillis
  }

  /** For messages. */
  def patience: String = if (patienceMillis % 1000 == 0) s"${patienceMillis / 1000} s" else s"$patienceMillis ms"

  /** It came to an end. */
  def ended(): Unit = synchronized { waiting = false }

  private def there(): Map[String, Long] = Try {
    val files = Files.list(part)
    try files.iterator.asScala.map(file => file.getFileName.toString -> Files.size(file)).toMap
    finally files.close()
  }.getOrElse(Map.empty) // it is not there, or was just removed
}

/** Who was waited for did not go on. */
private[caffe] final class StalledCopy(message: String) extends IOException(message)

/** Locks of files on this host, as Linux tells them. */
private[caffe] object FileLocks {
  private val Line = raw"\d+: POSIX +\w+ +\w+ (\d+) \w+:\w+:(\d+) (\d+) (\d+|EOF)".r

  /** The process that holds a lock on byte `place` of a file, if this one may know it. */
  def holder(file: LocalPath, place: Long): Option[Long] = Try {
    val inode = Files.getAttribute(file, "unix:ino").toString
    Files.readAllLines(Paths.get("/proc/locks")).asScala.collectFirst {
      case Line(process, `inode`, first, last) if first.toLong <= place && (last == "EOF" || place <= last.toLong) && process != "0" =>
        process.toLong
    }
  }.toOption.flatten
}
