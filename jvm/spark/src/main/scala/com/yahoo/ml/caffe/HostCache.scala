package com.yahoo.ml.caffe

import java.io.{FileNotFoundException, IOException}
import java.nio.ByteBuffer
import java.nio.channels.{FileChannel, FileLock, OverlappingFileLockException}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.StandardOpenOption.{CREATE, CREATE_NEW, READ, WRITE}
import java.nio.file.attribute.PosixFilePermissions
import java.nio.file.{FileAlreadyExistsException, Files, LinkOption, Paths, StandardCopyOption, Path => LocalPath}
import java.security.MessageDigest
import java.util.concurrent.{ConcurrentHashMap, TimeUnit}
import java.util.concurrent.locks.ReentrantLock

import org.apache.hadoop.fs.{FileStatus, Path}
import org.apache.spark.{SparkEnv, TaskContext, TaskKilledException}
import org.slf4j.LoggerFactory

import scala.jdk.CollectionConverters._
import scala.util.control.NonFatal

/** A file, or the files of a folder, of a Hadoop file system as they are now. `what` is for messages. */
private[caffe] final case class RemoteFiles(what: String, path: Path, files: Seq[FileStatus]) {
  import RemoteFiles._

  def bytes: Long = files.map(_.getLen).sum

  def pathKey: String = digest(path.toString)

  /** Another one as soon as a file changes. */
  def key: String = s"$pathKey-${digest(version)}"

  /** For a second copy, beside one whose maker does not go on. */
  def secondKey: String = s"$pathKey-${digest(version + "\nsecond")}"

  private def version: String = files.map(f => s"${f.getPath.getName} ${f.getLen} ${f.getModificationTime}").mkString("\n")

  override def toString: String = s"$what $path"
}

private[caffe] object RemoteFiles {
  /** They belong to processes, and are made anew by each. */
  private val locks = Set("lock.mdb", "LOCK")
  val KeyPattern = "[0-9a-f]{16}-[0-9a-f]{16}"

  /** Of what a user wrote. */
  def named(storage: Storage, name: String, what: String): RemoteFiles = {
    val path =
      try storage.resolve(name)
      catch {
        case NonFatal(e) => // Hadoop: an unknown scheme, host or class
          throw new IOException(s"$what $name cannot be read from host ${Storage.host}: ${Failures.describe(e)}", e)
      }
    list(storage, path, what)
  }

  def list(storage: Storage, path: Path, what: String): RemoteFiles = {
    val files =
      try storage.statuses(path).filter(f => f.isFile && !locks(f.getPath.getName)).sortBy(_.getPath.getName)
      catch {
        case e: FileNotFoundException =>
          throw new IOException(s"$what $path does not exist (looked for from host ${Storage.host})", e)
        case NonFatal(e) =>
          throw new IOException(s"$what $path cannot be read from host ${Storage.host}: ${Failures.describe(e)}", e)
      }
    if (files.isEmpty) throw new IOException(s"$what $path is an empty folder")
    RemoteFiles(what, path, files)
  }

  private def digest(text: String): String =
    MessageDigest.getInstance("SHA-256").digest(text.getBytes(UTF_8)).take(8).map(b => f"$b%02x").mkString
}

/**
 * Copies of remote files on this host's disk. The first process that asks for one makes it; all tasks and all other
 * processes of the host share it. A copy is a folder that is named by its origin and version, and appears complete, by a
 * rename. In the file `locks` each copy has a byte: locked shared by the processes that use it, exclusive by the one that
 * makes or removes it; so what a killed process left behind is nobody's, and goes with the next copy made.
 *
 * With `keep` copies outlive the processes, until space is needed or the original changes.
 *
 * A maker may be stopped or wedged, and holds its lock. Who waits for it sees nothing come for `patienceMillis`, and then makes
 * a second copy, which all who gave up share.
 */
private[caffe] final class HostCache(root: LocalPath, keep: Boolean, patienceMillis: Long = HostCache.UsualPatienceMillis) {
  import HostCache._

  // Never closed: POSIX would drop all locks that this process has on the file.
  private val channel = FileChannel.open(root.resolve("locks"), CREATE, READ, WRITE)
  private val entries = new ConcurrentHashMap[String, Entry]
  if (!keep) Runtime.getRuntime.addShutdownHook(new Thread(() => entries.values.asScala.foreach(removeIfUnused(_, atEnd = true))))

  /** A copy of `remote`; `close` it after use. Waits while another process makes it, as long as that goes on. */
  def open(storage: Storage, remote: RemoteFiles): HostCache.Copy =
    try open(remote.key, storage, remote)
    catch {
      case first: StalledCopy =>
        log.warn(s"${first.getMessage}; making another copy")
        try open(remote.secondKey, storage, remote)
        catch {
          case second: StalledCopy => throw new IOException(s"$remote cannot be copied to $root on host ${Storage.host}: " +
            s"${first.getMessage}; ${second.getMessage}; end them, or name another folder with $Folder")
        }
    }

  private def open(name: String, storage: Storage, remote: RemoteFiles): HostCache.Copy = {
    val entry = entries.computeIfAbsent(name, new Entry(_))
    patiently(s"a task of process ${ProcessHandle.current.pid}, which copies $remote,", entry.watch) {
      entry.mutex.tryLock(PollMillis, TimeUnit.MILLISECONDS)
    }
    try {
      while (!isReady(entry, remote)) fill(entry, storage, remote)
      entry.watch.ended()
      entry.users += 1
      new HostCache.Copy(entry.folder, () => locked(entry)(entry.users -= 1))
    } finally entry.mutex.unlock()
  }

  private final class Entry(val name: String) {
    val mutex = new ReentrantLock
    val folder: LocalPath = root.resolve(name)
    val part: LocalPath = root.resolve(name + Part)
    val watch = new CopyWatch(part, patienceMillis)
    val place: Long = name.split('-').map(java.lang.Long.parseUnsignedLong(_, 16)).reduce(_ ^ _) >>> 1
    var shared: Option[FileLock] = None
    var users = 0

    def release(): Unit = {
      shared.foreach(_.release())
      shared = None
    }

    def delete(): Unit = Seq(folder, part).foreach(Storage.delete)
  }

  private def locked[A](entry: Entry)(body: => A): A = {
    entry.mutex.lock()
    try body
    finally entry.mutex.unlock()
  }

  private def isReady(entry: Entry, remote: RemoteFiles): Boolean = {
    if (entry.shared.isEmpty) entry.shared = Some(waitForLock(entry, shared = true, remote))
    val there = Files.isDirectory(entry.folder)
    if (!there) entry.release()
    there
  }

  private def fill(entry: Entry, storage: Storage, remote: RemoteFiles): Unit = {
    val lock = waitForLock(entry, shared = false, remote)
    try if (!Files.isDirectory(entry.folder)) copy(entry, storage, remote)
    finally lock.release()
  }

  private def copy(entry: Entry, storage: Storage, remote: RemoteFiles): Unit = {
    val started = System.nanoTime()
    try {
      makeRoom(entry, remote)
      Files.createDirectory(entry.part)
      remote.files.foreach(file => copyFile(storage, file, entry.part.resolve(file.getPath.getName)))
      if (RemoteFiles.list(storage, remote.path, remote.what).key != remote.key) {
        throw new IOException("it was changed meanwhile; try again when it is complete")
      }
      Files.move(entry.part, entry.folder, StandardCopyOption.ATOMIC_MOVE)
    } catch {
      case e: IOException =>
        val why = if (isFull(e)) doesNotFit(remote) else Failures.describe(e)
        throw new IOException(s"$remote cannot be copied to $root on host ${Storage.host}: $why", e)
    } finally Storage.delete(entry.part)
    val seconds = (System.nanoTime() - started) / 1e9
    log.info(f"copied $remote (${size(remote.bytes)}) to ${entry.folder} of host ${Storage.host} in $seconds%.1f s")
  }

  private def copyFile(storage: Storage, file: FileStatus, to: LocalPath): Unit = {
    val in = storage.open(file.getPath)
    try {
      val out = FileChannel.open(to, CREATE_NEW, WRITE)
      try {
        val buffer = new Array[Byte](BufferBytes)
        var copied = 0L
        var got = in.read(buffer)
        while (got >= 0) {
          val chunk = ByteBuffer.wrap(buffer, 0, got)
          while (chunk.hasRemaining) out.write(chunk)
          copied += got
          stopIfKilled()
          got = in.read(buffer)
        }
        if (copied != file.getLen) throw new IOException(s"${file.getPath} ended after $copied of ${file.getLen} bytes")
      } finally out.close()
    } finally in.close()
  }

  /** Removes what nobody uses, other versions of the same files, and, where space is short, all that no task uses now. */
  private def makeRoom(entry: Entry, remote: RemoteFiles): Unit = {
    val others = names().filter(_ != entry.name)
    others.filter(name => !keep || name.startsWith(remote.pathKey)).foreach(remove(_, remote, evenIfCached = false))
    entry.delete()
    if (free() < remote.bytes) others.foreach(remove(_, remote, evenIfCached = true))
    if (free() < remote.bytes) throw new IOException(Full)
  }

  private def remove(name: String, remote: RemoteFiles, evenIfCached: Boolean): Unit = {
    val entry = entries.computeIfAbsent(name, new Entry(_))
    val cached = entry.shared.isDefined && !name.startsWith(remote.pathKey)
    if (evenIfCached || !cached) removeIfUnused(entry)
  }

  /** At the end of the process its tasks count no more; what they have open stays readable. */
  private def removeIfUnused(entry: Entry, atEnd: Boolean = false): Unit = if (entry.mutex.tryLock()) {
    try if (entry.users == 0 || atEnd) {
      entry.release()
      tryLock(entry, shared = false).foreach { lock =>
        try entry.delete()
        finally lock.release()
      }
    } finally entry.mutex.unlock()
  }

  private def names(): Seq[String] = {
    val files = Files.list(root)
    try files.iterator.asScala.map(_.getFileName.toString.stripSuffix(Part)).filter(_.matches(RemoteFiles.KeyPattern)).toList
      .distinct
    finally files.close()
  }

  private def free(): Long = Files.getFileStore(root).getUsableSpace

  private def isFull(e: IOException): Boolean =
    Option(e.getMessage).exists(m => m == Full || m.contains("No space left") || m.contains("quota exceeded"))

  private def doesNotFit(remote: RemoteFiles): String =
    s"it has ${size(remote.bytes)}, and ${size(free())} are free there; name a folder on a larger disk with $Folder"

  private def tryLock(entry: Entry, shared: Boolean): Option[FileLock] =
    try Option(channel.tryLock(entry.place, 1, shared))
    catch { case _: OverlappingFileLockException => None } // another copy of this process has the same place

  private def waitForLock(entry: Entry, shared: Boolean, remote: RemoteFiles): FileLock = {
    var lock = tryLock(entry, shared)
    if (lock.isEmpty) {
      patiently(maker(entry, remote), entry.watch) {
        Thread.sleep(PollMillis)
        lock = tryLock(entry, shared)
        lock.isDefined
      }
    }
    entry.watch.ended()
    lock.get
  }

  private def maker(entry: Entry, remote: RemoteFiles): String = {
    val process = FileLocks.holder(root.resolve("locks"), entry.place).fold("another process")(pid => s"process $pid")
    s"$process of host ${Storage.host}, which copies $remote,"
  }
}

private[caffe] object HostCache {
  /** Spark property: the folder of the copies on each host; they are then kept. */
  val Folder = "spark.caffe.hostCache"
  /** Spark property: how long to wait for a copy of which nothing comes. */
  val Patience = "spark.caffe.hostCacheTimeout"
  val UsualPatienceMillis = 300000L
  private val Part = ".part"
  private val Full = "no room"
  private val PollMillis = 20L
  private val WarnSeconds = 30L
  private val BufferBytes = 1 << 20
  private val log = LoggerFactory.getLogger(classOf[HostCache])
  private val caches = new ConcurrentHashMap[LocalPath, HostCache]

  /** A copy in use. */
  final class Copy(val folder: LocalPath, release: () => Unit) extends AutoCloseable {
    private val open = new java.util.concurrent.atomic.AtomicBoolean(true)
    override def close(): Unit = if (open.getAndSet(false)) release()
  }

  /** The cache of this host, for the application that this process belongs to. */
  def here(): HostCache = synchronized {
    val named = Option(SparkEnv.get).flatMap(_.conf.getOption(Folder)).filter(_.nonEmpty)
    val root = named.map(name => Paths.get(Storage.localName(name).getOrElse(
      throw new IllegalArgumentException(s"$Folder must be a folder of each host, not $name")))).getOrElse(usual)
    val patience = Option(SparkEnv.get).fold(UsualPatienceMillis)(env => GroupSettings.millis(env.conf, Patience, "300s"))
    val folder = ofClassLoader(root.toAbsolutePath)
    caches.computeIfAbsent(folder, root => {
      try if (named.isDefined) Files.createDirectories(root) else createPrivate(root)
      catch {
        case e: IOException => throw new IOException(s"$root cannot be made on host ${Storage.host}: ${Failures.describe(e)}; " +
          s"name another folder with $Folder", e)
      }
      new HostCache(root, keep = named.isDefined, patience)
    })
  }

  def size(bytes: Long): String = {
    val units = Seq("bytes", "KB", "MB", "GB", "TB", "PB")
    val power = math.min(units.length - 1, (math.log(math.max(1.0, bytes.toDouble)) / math.log(1000)).toInt)
    if (power == 0) s"$bytes bytes"
    else String.format(java.util.Locale.ROOT, "%.1f %s", Double.box(bytes / math.pow(1000, power)), units(power))
  }

  private def usual: LocalPath = {
    val user = sys.props.getOrElse("user.name", "user").replaceAll("[^A-Za-z0-9._-]", "_")
    Storage.localFolder.resolve(s"caffeonspark-copies-$user")
  }

  /** Two class loaders of one process cannot share locks, so each has a folder of its own. */
  private def ofClassLoader(root: LocalPath): LocalPath =
    if (caches.containsKey(root)) root
    else Iterator.from(1).map(i => if (i == 1) root else root.resolveSibling(s"${root.getFileName}-$i")).find { folder =>
      caches.containsKey(folder) || System.getProperties.putIfAbsent(s"caffe.hostCache:$folder", "taken") == null
    }.get

  /** Others could put their data into a folder that is not this user's own. */
  private def createPrivate(root: LocalPath): Unit =
    try {
      Files.createDirectory(root, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")))
    } catch {
      case _: FileAlreadyExistsException =>
        val mine = Files.isDirectory(root, LinkOption.NOFOLLOW_LINKS) &&
          Files.getOwner(root) == Files.getOwner(Paths.get("/proc/self")) &&
          PosixFilePermissions.toString(Files.getPosixFilePermissions(root)).endsWith("------")
        if (!mine) throw new IOException("it exists, and is not a private folder of this user")
    }

  private def patiently(whom: => String, watch: CopyWatch)(succeeds: => Boolean): Unit = {
    var warned = System.nanoTime()
    while (!succeeds) {
      stopIfKilled()
      if (watch.stalled()) throw new StalledCopy(s"$whom has not gone on for ${watch.patience}")
      if (System.nanoTime() - warned > TimeUnit.SECONDS.toNanos(WarnSeconds)) {
        log.warn("still waiting: {} is not done yet", whom)
        warned = System.nanoTime()
      }
    }
  }

  private def stopIfKilled(): Unit = {
    val context = TaskContext.get()
    if (context != null && context.isInterrupted()) throw new TaskKilledException("killed while files were copied")
  }
}

/** The files that a task uses as files of this host, until `close`. */
private[caffe] final class HostCopies(storage: Storage) extends AutoCloseable {
  private var copies = List.empty[HostCache.Copy]

  /** The folder itself where it is on this host's disks (or looks so: NFS), else a copy. */
  def folder(name: String, what: String): LocalPath = Storage.localName(name) match {
    case Some(local) => Paths.get("").toAbsolutePath.resolve(local).normalize()
    case None => copy(RemoteFiles.named(storage, name, what))
  }

  /** `uri` is of a Hadoop file system. */
  def file(uri: String, what: String): LocalPath = {
    val remote = RemoteFiles.named(storage, uri, what)
    copy(remote).resolve(remote.path.getName)
  }

  def file(path: Path, what: String): LocalPath = storage.local(path) match {
    case Some(file) if Files.exists(file) => file
    case Some(_) => throw new FileNotFoundException(s"$what $path does not exist on host ${Storage.host}")
    case None => copy(RemoteFiles.list(storage, path, what)).resolve(path.getName)
  }

  private def copy(remote: RemoteFiles): LocalPath = {
    val copy = HostCache.here().open(storage, remote)
    copies = copy :: copies
    copy.folder
  }

  override def close(): Unit = {
    copies.foreach(_.close())
    copies = Nil
  }
}
