import java.io.BufferedReader;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.solr.client.solrj.SolrClient;
import org.apache.solr.client.solrj.impl.CloudHttp2SolrClient;
import org.apache.solr.client.solrj.impl.ConcurrentUpdateHttp2SolrClient;
import org.apache.solr.client.solrj.impl.Http2SolrClient;
import org.apache.solr.client.solrj.request.UpdateRequest;
import org.apache.solr.common.SolrInputDocument;
import org.apache.solr.common.util.Utils;

/**
 * Solr's own Java client as somebody would use it who has to feed JSON lines.
 *
 * <p>Feed MODE FILE URL[,URL...] COLLECTION THREADS BATCH QUEUE [WARM]
 *
 * <p>cloud: CloudHttp2SolrClient, batches split among the leaders, javabin. concurrent:
 * ConcurrentUpdateHttp2SolrClient, a queue and THREADS streaming connections to the first URL. With
 * WARM the file is fed once into that collection first, so that all is compiled, and only then
 * measured. It prints "begin", and "end {...}" when the last answer is there; it does not commit.
 */
public final class Feed {
  private static final List<String> END = List.of();

  private final String mode, file;
  private final List<String> urls;
  private final int threads, batch, queue;
  private final AtomicLong docs = new AtomicLong(), errors = new AtomicLong();
  private final AtomicReference<Throwable> first = new AtomicReference<>();

  private Feed(String[] a) {
    mode = a[0];
    file = a[1];
    urls = List.of(a[2].split(","));
    threads = Integer.parseInt(a[4]);
    batch = Integer.parseInt(a[5]);
    queue = Integer.parseInt(a[6]);
  }

  public static void main(String[] a) throws Exception {
    Feed feed = new Feed(a);
    if (a.length > 7) feed.pass(a[7]);
    feed.docs.set(0);
    System.out.println("begin");
    long start = System.nanoTime();
    long cpu = cpu();
    feed.pass(a[3]);
    double seconds = (System.nanoTime() - start) / 1e9;
    if (feed.first.get() != null) feed.first.get().printStackTrace();
    System.out.printf(
        java.util.Locale.ROOT,
        "end {\"docs\":%d,\"seconds\":%.4f,\"cpu_s\":%.4f,\"errors\":%d}%n",
        feed.docs.get(),
        seconds,
        (cpu() - cpu) / 1e9,
        feed.errors.get());
    System.exit(feed.errors.get() > 0 ? 1 : 0);
  }

  private static long cpu() {
    return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
        .getProcessCpuTime();
  }

  private void failed(Throwable e) {
    errors.incrementAndGet();
    first.compareAndSet(null, e);
  }

  /** A line as what SolrJ sends: a document, or a String, the id of one to be deleted. */
  @SuppressWarnings("unchecked")
  private static Object line(String s) {
    Map<String, Object> m = (Map<String, Object>) Utils.fromJSONString(s);
    Object d = m.get("delete");
    if (d instanceof Map && m.size() == 1) {
      return String.valueOf(((Map<String, Object>) d).get("id"));
    }
    SolrInputDocument doc = new SolrInputDocument();
    for (Map.Entry<String, Object> e : m.entrySet()) doc.setField(e.getKey(), e.getValue());
    return doc;
  }

  private static void request(SolrClient client, List<String> lines) throws Exception {
    UpdateRequest r = new UpdateRequest();
    for (String s : lines) {
      Object o = line(s);
      if (o instanceof String) r.deleteById((String) o);
      else r.add((SolrInputDocument) o);
    }
    r.process(client);
  }

  private static void stream(SolrClient client, List<String> lines) throws Exception {
    for (String s : lines) {
      Object o = line(s);
      if (o instanceof String) client.deleteById((String) o);
      else client.add((SolrInputDocument) o);
    }
  }

  private SolrClient client(Http2SolrClient http, String collection) {
    if (mode.equals("cloud")) {
      return new CloudHttp2SolrClient.Builder(urls).withDefaultCollection(collection).build();
    }
    return new ConcurrentUpdateHttp2SolrClient.Builder(urls.get(0), http, false) {
      @Override
      public ConcurrentUpdateHttp2SolrClient build() {
        return new ConcurrentUpdateHttp2SolrClient(this) {
          @Override
          public void handleError(Throwable e) {
            failed(e);
          }
        };
      }
    }.withDefaultCollection(collection).withQueueSize(queue).withThreadCount(threads).build();
  }

  /** The whole file into a collection, until the last answer. Parsing is done by the threads, too. */
  private void pass(String collection) throws Exception {
    boolean cloud = mode.equals("cloud");
    try (Http2SolrClient http = new Http2SolrClient.Builder().build();
        SolrClient client = client(http, collection)) {
      BlockingQueue<List<String>> q = new ArrayBlockingQueue<>(16);
      List<Thread> ts = new ArrayList<>();
      for (int i = 0; i < threads; i++) {
        Thread t =
            new Thread(
                () -> {
                  try {
                    for (List<String> b; (b = q.take()) != END; ) {
                      try {
                        if (cloud) request(client, b);
                        else stream(client, b);
                        docs.addAndGet(b.size());
                      } catch (Exception e) {
                        failed(e);
                      }
                    }
                  } catch (InterruptedException e) {
                    failed(e);
                  } catch (Error e) { // out of memory, most likely: no use to go on
                    e.printStackTrace();
                    Runtime.getRuntime().halt(3);
                  }
                });
        t.start();
        ts.add(t);
      }
      read(q);
      for (Thread t : ts) t.join();
      if (!cloud) ((ConcurrentUpdateHttp2SolrClient) client).blockUntilFinished();
    }
  }

  private void read(BlockingQueue<List<String>> q) throws Exception {
    try (BufferedReader in = Files.newBufferedReader(Path.of(file), StandardCharsets.UTF_8)) {
      List<String> b = new ArrayList<>(batch);
      for (String s; (s = in.readLine()) != null; ) {
        if (s.isEmpty()) continue;
        b.add(s);
        if (b.size() == batch) {
          q.put(b);
          b = new ArrayList<>(batch);
        }
      }
      if (!b.isEmpty()) q.put(b);
    }
    for (int i = 0; i < threads; i++) q.put(END);
  }
}
