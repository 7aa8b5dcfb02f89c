import java.io.RandomAccessFile;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;

/**
 * Keeps objects, uses a tenth of them, and collects all garbage from time to time.
 *
 * <p>{@code java Churn.java RECORDS MEBIBYTES COLLECT_MS}: operations are recorded as in
 * {@code operations.h}. An operation reads an object, and one in ten replaces it.
 */
public class Churn {
  static final int OBJECT = 1000;
  static final int BUCKETS = 1024;
  static final int IDLE_BANDS = 9;
  static final int JOBS = (2 + BUCKETS + IDLE_BANDS) * 8;

  static long state = 88172645463325252L;
  static long sum;

  static long random() {
    state ^= state << 13;
    state ^= state >>> 7;
    state ^= state << 17;
    return state;
  }

  /** Half of it random, so that it compresses to a half. */
  static byte[] object() {
    byte[] bytes = new byte[OBJECT];
    for (int i = 0; i < OBJECT / 2; i += 4) {
      long random = random();
      for (int part = 0; part < 4; part++) bytes[i + part] = (byte) (random >> part * 8);
    }
    return bytes;
  }

  public static void main(String[] words) throws Exception {
    int count = Integer.parseInt(words[1]) * (1 << 20) / OBJECT;
    long every = Long.parseLong(words[2]);
    MappedByteBuffer record;
    try (RandomAccessFile file = new RandomAccessFile(words[0], "rw")) {
      record = file.getChannel().map(FileChannel.MapMode.READ_WRITE, 0, JOBS + 8);
    }
    record.order(ByteOrder.LITTLE_ENDIAN);
    byte[][] kept = new byte[count][];
    for (int i = 0; i < count; i++) kept[i] = object();
    Thread collector =
        new Thread(
            () -> {
              for (long jobs = 1; ; jobs++) {
                try {
                  Thread.sleep(every);
                } catch (InterruptedException error) {
                  return;
                }
                System.gc();
                record.putLong(JOBS, jobs);
              }
            });
    collector.setDaemon(true);
    record.putLong(8, 1);
    collector.start();
    String rate = System.getenv("RCAP_BENCH_RATE");
    double interval = rate == null ? 0 : 1e9 / Double.parseDouble(rate);
    double due = System.nanoTime();
    long operations = 0;
    for (long now = System.nanoTime(); ; ) {
      long random = random();
      int hot = (int) ((random >>> 20) % (count / 10)) * 10;
      byte[] bytes = kept[hot];
      for (int i = 0; i < OBJECT; i++) sum += bytes[i];
      if (random % 10 == 0) kept[hot] = object();
      long then = now;
      now = System.nanoTime();
      long took = now - then;
      int exponent = 63 - Long.numberOfLeadingZeros(took | 16);
      int bucket = 16 + ((exponent - 4) * 16 + (int) (took >> (exponent - 4)) % 16) * 8;
      record.putLong(bucket, record.getLong(bucket) + 1);
      record.putLong(0, ++operations);
      // As in operations.h.
      due = Math.max(due + interval, now - 1e9);
      if (interval == 0 || due < now + 1e6) continue;
      Thread.sleep((long) ((due - now) / 1e6));
      now = System.nanoTime();
    }
  }
}
