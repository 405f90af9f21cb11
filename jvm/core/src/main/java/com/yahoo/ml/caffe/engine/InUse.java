package com.yahoo.ml.caffe.engine;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.HashSet;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Stream;

/**
 * Marks folders that a process works in, by a lock that ends with the process, however it ends. So the next process can
 * tell what a killed one left behind, also where the two are in containers and cannot see each other.
 */
public final class InUse implements AutoCloseable {
  private static final String MARK = ".in-use";
  /** A folder without a mark may be one that is being made. */
  private static final Duration UNMARKED = Duration.ofHours(1);

  // The system lets go of a file's locks as soon as the process closes the file anywhere: those of this one are left alone.
  private static final Set<Path> OWN = new HashSet<>();

  private final Path folder;
  private final FileChannel channel;

  private InUse(Path folder, FileChannel channel) {
    this.folder = folder;
    this.channel = channel;
  }

  /** Marks a folder that only this process uses. */
  public static InUse alone(Path folder) throws IOException {
    return mark(folder, false);
  }

  /** Marks a folder that several processes use. */
  public static InUse shared(Path folder) throws IOException {
    return mark(folder, true);
  }

  private static InUse mark(Path folder, boolean shared) throws IOException {
    synchronized (OWN) {
      if (!OWN.add(folder)) {
        return new InUse(folder, null);
      }
      try {
        return new InUse(folder, shared ? lockShared(folder.resolve(MARK)) : lockNew(folder));
      } catch (IOException e) {
        OWN.remove(folder);
        throw e;
      }
    }
  }

  // Locked before it has its name, so nobody finds it unlocked.
  private static FileChannel lockNew(Path folder) throws IOException {
    Path hidden = folder.resolve(MARK + UUID.randomUUID());
    FileChannel channel = FileChannel.open(hidden, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
    channel.lock();
    Files.move(hidden, folder.resolve(MARK), StandardCopyOption.ATOMIC_MOVE);
    return channel;
  }

  private static FileChannel lockShared(Path mark) throws IOException {
    FileChannel channel = FileChannel.open(mark, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
    try {
      channel.lock(0, Long.MAX_VALUE, true);
    } catch (OverlappingFileLockException e) {
      // Another class loader of this process has it. The channel stays open: closing it would end that lock.
    }
    Files.setLastModifiedTime(mark, FileTime.from(Instant.now()));
    return channel;
  }

  /** Deletes the folders of `root` whose names begin with `prefix`, which no process uses and none has used for so long. */
  public static void clean(Path root, String prefix, Duration unused) {
    try (Stream<Path> all = Files.list(root)) {
      all.filter(path -> path.getFileName().toString().startsWith(prefix) && Files.isDirectory(path))
          .forEach(path -> cleanOne(path, unused));
    } catch (IOException e) {
      // Nothing depends on it; the next process tries again.
    }
  }

  private static void cleanOne(Path folder, Duration unused) {
    synchronized (OWN) {
      Path mark = folder.resolve(MARK);
      if (OWN.contains(folder) || !isOld(Files.exists(mark) ? mark : folder, Files.exists(mark) ? unused : UNMARKED)) {
        return;
      }
      if (!Files.exists(mark)) {
        delete(folder);
        return;
      }
      try {
        FileChannel channel = FileChannel.open(mark, StandardOpenOption.WRITE);
        if (channel.tryLock() != null) {
          delete(folder);
        }
        channel.close();
      } catch (IOException | OverlappingFileLockException e) {
        // Another user's, or of another class loader of this process; then the channel must stay open, as above.
      }
    }
  }

  private static boolean isOld(Path path, Duration age) {
    try {
      return !Files.getLastModifiedTime(path).toInstant().isAfter(Instant.now().minus(age));
    } catch (IOException e) {
      return false;
    }
  }

  private static void delete(Path folder) {
    try (Stream<Path> all = Files.walk(folder)) {
      for (Path path : all.sorted(java.util.Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(path);
      }
    } catch (IOException e) {
      // As far as it went.
    }
  }

  /** Before or after the folder is deleted. */
  @Override
  public void close() throws IOException {
    synchronized (OWN) {
      if (channel != null) {
        OWN.remove(folder);
        channel.close();
      }
    }
  }
}
