package com.yahoo.ml.caffe

import java.nio.file.Files
import java.util.concurrent.{Executors, TimeUnit}

import com.yahoo.ml.caffe.engine.{Library, Net}

import scala.collection.mutable
import scala.jdk.CollectionConverters._

/** A network to be opened: `key` tells networks apart, `net` is a NetParameter, `weights` the content of a model file. */
private[caffe] final case class OpenedNet(key: String, net: Array[Byte], outputs: Seq[String], threads: Int, share: Boolean,
    hdf5: Boolean, weights: () => Array[Byte], precision: String = Precision.F32)

/**
 * The nets of this JVM that answer rows. Nets of one model share one copy of its weights. A net that was given back waits
 * for the next task, and is freed when none came for a while.
 */
private[caffe] object NetPool {
  private val IdleSeconds = 10L

  private final class Model {
    val idle = mutable.Stack.empty[Net]
    val all = mutable.Set.empty[Net]
    var axes: Option[RowAxes] = None
    var since: Long = System.nanoTime()
  }

  private val models = mutable.Map.empty[String, Model]

  private lazy val janitor = Executors.newSingleThreadScheduledExecutor { (task: Runnable) =>
    val thread = new Thread(task, "caffe-idle-nets")
    thread.setDaemon(true)
    thread
  }

  def take(wanted: OpenedNet): Net = synchronized {
    val model = models.getOrElse(wanted.key, new Model)
    if (model.idle.nonEmpty) model.idle.pop()
    else {
      val net = open(wanted, if (wanted.share) model.all.headOption else None)
      model.all.add(net)
      models(wanted.key) = model
      net
    }
  }

  /** A net all of whose inputs have their rows on axis 0, and where its outputs have theirs. */
  def takeForRows(wanted: OpenedNet): (Net, RowAxes) = synchronized {
    val net = take(wanted)
    val model = models(wanted.key)
    try {
      if (model.axes.isEmpty) model.axes = Some(RowAxes.of(net, wanted.outputs))
      (net, model.axes.get)
    } catch {
      case e: Throwable =>
        discard(wanted.key, net)
        throw e
    }
  }

  def give(key: String, net: Net): Unit = synchronized {
    models.get(key) match {
      case Some(model) if model.all(net) =>
        model.idle.push(net)
        model.since = System.nanoTime()
        janitor.schedule((() => sweep(IdleSeconds)): Runnable, IdleSeconds + 1, TimeUnit.SECONDS)
      case _ => net.close()
    }
  }

  /** Instead of `give`, for a net that failed. */
  def discard(key: String, net: Net): Unit = synchronized {
    models.get(key).foreach { model =>
      model.all.remove(net)
      if (model.all.isEmpty) models.remove(key)
    }
    net.close()
  }

  /** (nets, of which idle) of a model; None once it has none. */
  def count(key: String): Option[(Int, Int)] = synchronized(models.get(key).map(m => (m.all.size, m.idle.size)))

  /** Frees nets that nobody used for so long. */
  def sweep(seconds: Long): Unit = synchronized {
    val before = System.nanoTime() - TimeUnit.SECONDS.toNanos(seconds)
    for ((key, model) <- models.toSeq if model.since <= before) {
      model.idle.foreach { net =>
        model.all.remove(net)
        net.close()
      }
      model.idle.clear()
      if (model.all.isEmpty) models.remove(key)
    }
  }

  private def open(wanted: OpenedNet, other: Option[Net]): Net = {
    Library.load()
    val options = Map("threads" -> wanted.threads.toString, "observe" -> wanted.outputs.mkString(","),
      Precision.option(wanted.precision))
    other match {
      case Some(owner) =>
        val net = Net.create(wanted.net, Net.TEST, options.asJava)
        try net.share(owner)
        catch {
          case e: Throwable =>
            net.close()
            throw e
        }
        net
      case None =>
        Storage.withTemporaryFolder { folder =>
          val file = folder.resolve(if (wanted.hdf5) "weights.caffemodel.h5" else "weights.caffemodel")
          Files.write(file, wanted.weights())
          Net.create(wanted.net, Net.TEST, (options + ("weights" -> file.toString)).asJava)
        }
    }
  }
}
