package com.yahoo.ml.caffe

import java.io.IOException

import com.yahoo.ml.caffe.engine.CommunicationException
import org.apache.spark.SparkException

/**
 * What went wrong in a task, as a value. Mistakes of configuration or data travel as results: an exception would make
 * Spark run the task again, to fail again, and would bury the message in stack traces.
 */
private[caffe] final case class Failure(kind: String, message: String, where: String) {
  def exception: Exception = {
    val text = if (where.isEmpty || message.contains(where)) message else s"$message ($where)"
    kind match {
      case Failures.Argument => new IllegalArgumentException(text)
      case Failures.Io => new IOException(text)
      case Failures.Communication => new CommunicationException(text)
      case _ => new CaffeException(text)
    }
  }
}

private[caffe] object Failures {
  val Argument = "argument"
  val Io = "io"
  val Communication = "communication"
  val Other = "other"

  def of(error: Throwable, where: String): Failure = {
    val kind = error match {
      case _: IllegalArgumentException => Argument
      case _: IOException => Io
      case _: CommunicationException => Communication
      case _ => Other
    }
    Failure(kind, describe(error), where)
  }

  /** The message of an error that is ours; class and message of any other. */
  def describe(error: Throwable): String = error match {
    case _: IllegalArgumentException | _: IllegalStateException | _: CaffeException | _: UnsatisfiedLinkError
        if error.getMessage != null => error.getMessage
    case e: IOException if e.getMessage != null && e.getClass.getName.startsWith("java.io.") => e.getMessage
    case _ => error.toString
  }

  /** Errors that a task may report instead of dying: all but those that leave the JVM unusable. */
  def reportable(error: Throwable): Boolean = error match {
    case _: InterruptedException | _: VirtualMachineError => false
    case lost if lost.getClass.getName == "org.apache.spark.shuffle.FetchFailedException" => false // Spark makes the rows again
    case _ => true
  }

  /** Runs a Spark action; its failure is told by the cause in the task, without Spark's wrapping. */
  def explained[A](body: => A): A =
    try body
    catch { case e: SparkException => throw unwrap(e) }

  def unwrap(error: Throwable): Throwable = {
    val chain = Iterator.iterate(error)(_.getCause).takeWhile(_ != null).take(30).toSeq
    chain.collectFirst {
      case e: IllegalArgumentException => e
      case e: CaffeException => e
      case e: IOException => e
    }.getOrElse {
      chain.map(_.getMessage).filter(_ != null).flatMap(ownLine).headOption.fold(error)(new CaffeException(_, error))
    }
  }

  // Where Spark keeps only the text of a task's exception: "...: java.io.IOException: message" and then the stack.
  private val thrown =
    """(?m)(?:com\.yahoo\.ml\.caffe\.[\w.]*|java\.io\.IOException|java\.lang\.IllegalArgumentException): (.+)$""".r

  private def ownLine(text: String): Option[String] = thrown.findFirstMatchIn(text).map(_.group(1))

  /** One line for a terminal. */
  def oneLine(error: Throwable): String = describe(unwrap(error)).trim.replaceAll("\\s*\\R\\s*", "; ")
}
