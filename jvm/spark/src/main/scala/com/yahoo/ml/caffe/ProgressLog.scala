package com.yahoo.ml.caffe

import scala.collection.mutable

/** The newest lines about training in this driver, for front ends whose users do not see its terminal. */
private[caffe] object ProgressLog {
  private val Kept = 2000
  private val lines = mutable.Queue.empty[String]
  private var first = 0L

  def add(line: String): Unit = synchronized {
    lines += line
    if (lines.length > Kept) {
      lines.dequeue()
      first += 1
    }
  }

  /** The number that the next line will have. */
  def end: Long = synchronized(first + lines.length)

  /** The lines from number `from` on, as far as they are kept. */
  def since(from: Long): Array[String] = synchronized(lines.drop(math.max(0L, from - first).toInt).toArray)
}
