import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Reads a topic of Millrace with Kafka's own client and nothing of ours, and prints an event a line. */
public final class Reader {
    private static final PrintStream OUT = new PrintStream(System.out, false, UTF_8);

    private final Set<String> seen = new HashSet<>(); // an event is named by its source and id together
    private final Map<String, Long> numbers = new HashMap<>(); // a relay numbers its records in each partition
    private int gaps;

    public static void main(String[] words) {
        if (words.length != 2) {
            System.err.println("java Reader.java BOOTSTRAP TOPIC");
            System.exit(2);
        }
        Reader reader = new Reader();
        try (KafkaConsumer<byte[], byte[]> kafka = client(words[0])) {
            reader.toTheEnd(kafka, words[1]);
        }
        OUT.flush();
        System.exit(reader.gaps == 0 ? 0 : 3);
    }

    private static KafkaConsumer<byte[], byte[]> client(String bootstrap) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("isolation.level", "read_committed"); // the default shows what was aborted, too
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false"); // a service commits after its effect, never by the clock
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Every committed record up to the last stable offset, partition by partition. */
    private void toTheEnd(KafkaConsumer<byte[], byte[]> kafka, String topic) {
        List<TopicPartition> every = new ArrayList<>();
        kafka.partitionsFor(topic).forEach(found -> every.add(new TopicPartition(topic, found.partition())));
        Map<TopicPartition, Long> ends = kafka.endOffsets(every);
        for (TopicPartition partition : every) {
            kafka.assign(List.of(partition));
            kafka.seekToBeginning(List.of(partition));
            while (kafka.position(partition) < ends.get(partition)) {
                kafka.poll(Duration.ofMillis(500)).forEach(this::read);
            }
        }
    }

    /** Prints the event, unless it was here before. */
    private void read(ConsumerRecord<byte[], byte[]> record) {
        Map<String, String> headers = new TreeMap<>();
        for (Header header : record.headers()) {
            if (header.value() != null) {
                headers.put(header.key(), new String(header.value(), UTF_8));
            }
        }
        count(record.partition(), headers);
        if (!seen.add(headers.get("ce_source") + " " + headers.get("ce_id"))) {
            return;
        }
        StringBuilder line = new StringBuilder("{");
        headers.forEach((name, value) -> {
            if (name.startsWith("ce_")) {
                line.append(quoted(name.substring(3))).append(": ").append(quoted(value)).append(", ");
            }
        });
        line.append("\"key\": ").append(quoted(new String(record.key(), UTF_8)));
        line.append(", \"partition\": ").append(record.partition()).append(", \"offset\": ").append(record.offset());
        OUT.println(line.append(", \"data\": ").append(new String(record.value(), UTF_8)).append("}"));
    }

    private void count(int partition, Map<String, String> headers) {
        String relay = partition + " " + headers.get("millrace-outbox");
        long number = Long.parseLong(headers.get("millrace-pseq"));
        long last = numbers.getOrDefault(relay, number - 1);
        if (number > last + 1) {
            gaps++;
            System.err.println("gap: partition " + partition + " jumps from " + last + " to " + number);
        }
        numbers.put(relay, Math.max(last, number));
    }

    private static String quoted(String text) {
        StringBuilder safe = new StringBuilder("\"");
        for (char letter : text.toCharArray()) {
            if (letter == '"' || letter == '\\') {
                safe.append('\\').append(letter);
            } else if (letter < ' ') {
                safe.append(String.format("\\u%04x", (int) letter));
            } else {
                safe.append(letter);
            }
        }
        return safe.append('"').toString();
    }
}
