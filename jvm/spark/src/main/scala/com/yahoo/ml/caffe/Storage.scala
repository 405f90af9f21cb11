package com.yahoo.ml.caffe

import java.io.{DataInputStream, FileNotFoundException, IOException, InputStream, ObjectInputStream, ObjectOutputStream, UncheckedIOException}
import java.net.InetAddress
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Paths, Path => LocalPath}
import java.time.Duration
import java.util.UUID
import java.util.concurrent.TimeUnit

import com.yahoo.ml.caffe.engine.InUse
import org.apache.hadoop.conf.Configuration
import org.apache.hadoop.fs._
import org.apache.hadoop.security.AccessControlException
import org.apache.spark.SparkEnv
import org.slf4j.LoggerFactory

import scala.util.Try
import scala.util.control.NonFatal

/**
 * Files on any Hadoop file system. Every write is complete or not there: by a temporary name, which has `owner` in it, and a
 * rename.
 */
private[caffe] final class Storage(configuration: Configuration, owner: String = "") {
  import Storage._

  private def fileSystem(path: Path): FileSystem = path.getFileSystem(configuration) match {
    case local: LocalFileSystem => local.getRawFileSystem // no .crc files beside the user's
    case other => other
  }

  def exists(path: Path): Boolean = fileSystem(path).exists(path)

  def size(path: Path): Long = fileSystem(path).getFileStatus(path).getLen

  /** Names of the files in a folder; none where there is no folder. */
  def list(folder: Path): Seq[Path] =
    try fileSystem(folder).listStatus(folder).filter(_.isFile).map(_.getPath).toSeq
    catch { case _: FileNotFoundException => Nil }

  /** Of a file, or of all that a folder holds. */
  def statuses(path: Path): Seq[FileStatus] = fileSystem(path).listStatus(path).toSeq

  def open(path: Path): InputStream = fileSystem(path).open(path)

  /** The file of this host that a path names, if it names one. */
  def local(path: Path): Option[LocalPath] =
    if (fileSystem(path).getUri.getScheme == "file") Some(Paths.get(path.toUri.getPath)) else None

  def folders(folder: Path): Seq[Path] =
    try fileSystem(folder).listStatus(folder).filter(_.isDirectory).map(_.getPath).toSeq
    catch { case _: FileNotFoundException => Nil }

  def sha256(path: Path): String = Manifest.sha256(open(path))

  /** A local file with the content of `path`: itself where it is local, else a copy in `folder`. */
  def fetch(path: Path, folder: LocalPath, what: String): LocalPath = {
    val fs = fileSystem(path)
    if (!fs.exists(path)) throw new FileNotFoundException(s"$what $path does not exist on host $host")
    if (fs.getUri.getScheme == "file") Paths.get(path.toUri.getPath)
    else {
      val copy = Files.createTempDirectory(folder, "fetch").resolve(path.getName)
      val in = fs.open(path)
      try Files.copy(in, copy)
      finally in.close()
      copy
    }
  }

  /** Puts a local file at `target`; parent folders are made, an older file is replaced. */
  def publish(source: LocalPath, target: Path): Unit = write(target) { temporary =>
    val out = fileSystem(target).create(temporary, true)
    try Files.copy(source, out)
    finally out.close()
  }

  def writeText(text: String, target: Path): Unit = writeBytes(text.getBytes(UTF_8), target)

  def writeBytes(bytes: Array[Byte], target: Path): Unit = write(target) { temporary =>
    val out = fileSystem(target).create(temporary, true)
    try out.write(bytes)
    finally out.close()
  }

  /** An error now where `target` could not be written later. */
  def requireWritable(target: Path): Unit = {
    val fs = fileSystem(target)
    val probe = temporary(target)
    try {
      fs.mkdirs(target.getParent)
      fs.create(probe, true).close()
      fs.delete(probe, false)
    } catch { case NonFatal(e) => throw unwritable(target, e) }
  }

  private def temporary(target: Path): Path = new Path(target.getParent, s".${target.getName}.$owner.${UUID.randomUUID()}.tmp")

  private def unwritable(target: Path, cause: Throwable): IOException =
    new IOException(s"$target cannot be written from host $host: ${cause.getMessage}", cause)

  def delete(file: Path): Unit = fileSystem(file).delete(file, false)

  def deleteFolder(folder: Path): Unit = fileSystem(folder).delete(folder, true)

  /** A new file that can be read while it grows. */
  def create(path: Path): FSDataOutputStream = {
    fileSystem(path).mkdirs(path.getParent)
    fileSystem(path).create(path, true)
  }

  def readText(path: Path): String = new String(readBytes(path), UTF_8)

  def readBytes(path: Path): Array[Byte] = {
    val in = new DataInputStream(fileSystem(path).open(path))
    try in.readAllBytes()
    finally in.close()
  }

  private def write(target: Path)(fill: Path => Unit): Unit = {
    val fs = fileSystem(target)
    val unfinished = temporary(target)
    try patiently(target) {
      if (fs.exists(target) && fs.getFileStatus(target).isDirectory) {
        throw new FileAlreadyExistsException(s"$target is a folder, not a file")
      }
      fs.mkdirs(target.getParent)
      fill(unfinished)
      rename(fs, unfinished, target)
    } catch {
      case e: Throwable =>
        Try(fs.delete(unfinished, false))
        throw if (NonFatal(e)) unwritable(target, e) else e
    }
  }

  /** A file system over the network may be away for a while: `body` is tried again, unless the answer was a clear no. */
  def patiently[A](path: Path)(body: => A): A = {
    val deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PatienceSeconds)
    def comesBack(e: IOException): Boolean = local(path).isEmpty && !isRefusal(e) && System.nanoTime() < deadline
    var result: Option[A] = None
    while (result.isEmpty) {
      try result = Some(body)
      catch {
        case e: IOException if comesBack(e) =>
          log.warn(s"$path: ${Failures.describe(e)}; trying again")
          Thread.sleep(PauseMillis)
      }
    }
    result.get
  }

  /** What a killed process of this owner was just writing into a folder. */
  def removeTemporary(folder: Path): Unit = list(folder)
    .filter(file => file.getName.startsWith(".") && file.getName.contains(s".$owner.") && file.getName.endsWith(".tmp"))
    .foreach(delete(_))

  private def rename(fs: FileSystem, from: Path, to: Path): Unit =
    if (fs.getUri.getScheme == "file") {
      Files.move(Paths.get(from.toUri.getPath), Paths.get(to.toUri.getPath),
        java.nio.file.StandardCopyOption.ATOMIC_MOVE)
    } else {
      try {
        FileContext.getFileContext(to.toUri, configuration).rename(from, to, Options.Rename.OVERWRITE)
      } catch {
        case _: UnsupportedFileSystemException => // an object store without FileContext
          fs.delete(to, false)
          if (!fs.rename(from, to)) throw new IOException(s"rename of $from failed")
      }
    }

  /** The full path of an input that `what` names; an error if there is nothing. May have Hadoop's wildcards. */
  def existing(name: String, what: String): Path = {
    val path = resolve(name)
    val found = fileSystem(path).globStatus(path)
    if (found == null || found.isEmpty) throw new FileNotFoundException(s"$what: the source $path does not exist")
    path
  }

  /** The full path of what a user wrote: `file:` means this machine, everything else is the Hadoop configuration's. */
  def resolve(name: String): Path =
    if (name.startsWith("file:")) {
      val local = Storage.localName(name).map(Paths.get("").toAbsolutePath.resolve(_).normalize().toString)
      new Path("file", "", local.getOrElse(throw new IllegalArgumentException(s"$name names another host")))
    } else {
      val path = new Path(name)
      path.getFileSystem(configuration).makeQualified(path)
    }
}

private[caffe] object Storage {
  private val PatienceSeconds = 60L
  private val PauseMillis = 500L
  private val log = LoggerFactory.getLogger(classOf[Storage])
  private val scheme = "^([A-Za-z][A-Za-z0-9+.-]+):.*".r

  private def isRefusal(error: IOException): Boolean = error match {
    case _: AccessControlException | _: ClusterStorageCapacityExceededException | _: FileAlreadyExistsException |
        _: FileNotFoundException | _: ParentNotDirectoryException => true
    case _ => false
  }

  lazy val host: String = InetAddress.getLocalHost.getHostName

  /** The file name of a plain name or a `file:` URI; None for any other URI. */
  def localName(name: String): Option[String] = name match {
    case scheme("file") =>
      val rest = name.stripPrefix("file:")
      Some(if (rest.startsWith("//")) "/" + rest.dropWhile(_ == '/') else rest)
    case scheme(_) => None
    case plain => Some(plain)
  }

  /** A local folder for the length of `body`. */
  def withTemporaryFolder[A](body: LocalPath => A): A = {
    val folder = new TemporaryFolder(localFolder)
    try body(folder.path)
    finally folder.close()
  }

  def temporaryFolder(): TemporaryFolder = new TemporaryFolder(localFolder)

  /** Where Spark wants large temporary files on this host. */
  def localFolder: LocalPath = {
    val named = Seq("LOCAL_DIRS", "SPARK_LOCAL_DIRS").flatMap(sys.env.get(_)) ++
      Option(SparkEnv.get).flatMap(_.conf.getOption("spark.local.dir"))
    named.flatMap(_.split(',')).map(name => Paths.get(name.trim)).find(Files.isWritable(_))
      .getOrElse(Paths.get(System.getProperty("java.io.tmpdir")))
  }

  def delete(folder: LocalPath): Unit = if (Files.exists(folder)) {
    val all = Files.walk(folder)
    try all.sorted(java.util.Comparator.reverseOrder[LocalPath]()).forEach(file => Files.deleteIfExists(file))
    finally all.close()
  }
}

/** A new folder in `root`, until it is closed. Those that killed processes left there are deleted. */
private[caffe] final class TemporaryFolder(root: LocalPath) extends AutoCloseable {
  import TemporaryFolder._

  val path: LocalPath = Files.createTempDirectory(root, Prefix)
  private val mark = InUse.alone(path)
  InUse.clean(root, Prefix, Duration.ZERO)

  /** Unmarked last: once it is, others delete it too. What is left over is theirs, and no reason to fail. */
  override def close(): Unit =
    try Storage.delete(path)
    catch { case e @ (_: IOException | _: UncheckedIOException) => log.warn(s"$path could not be deleted: $e") }
    finally mark.close()
}

private[caffe] object TemporaryFolder {
  private val Prefix = "caffeonspark-task-"
  private val log = LoggerFactory.getLogger(classOf[TemporaryFolder])
}

/** The driver's Hadoop configuration, for tasks. */
private[caffe] final class HadoopSettings(@transient private var configuration: Configuration) extends Serializable {
  def storage: Storage = new Storage(configuration)

  def storageOf(owner: String): Storage = new Storage(configuration, owner)

  private def writeObject(out: ObjectOutputStream): Unit = configuration.write(out)

  private def readObject(in: ObjectInputStream): Unit = {
    configuration = new Configuration(false)
    configuration.readFields(in)
  }
}
