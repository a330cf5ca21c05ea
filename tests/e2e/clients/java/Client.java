// SPDX-License-Identifier: Apache-2.0
// Client - the Java client of Socket.IO under the commands of clients/README.md.
import io.socket.client.Ack;
import io.socket.client.IO;
import io.socket.client.Manager;
import io.socket.client.Socket;
import io.socket.engineio.client.Transport;
import io.socket.engineio.parser.Packet;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

final class Client {
    private static final Map<Integer, Client> clients = new HashMap<>();

    private final int number;
    private final Socket socket;
    private volatile String transport; // that of the last message: the client does not tell its own

    private Client(int number, JSONObject options) throws Exception {
        this.number = number;
        IO.Options io = new IO.Options();
        io.forceNew = true;
        io.reconnectionDelay = 100;
        io.reconnectionDelayMax = 500;
        io.path = options.getString("path");
        io.transports = strings(options.getJSONArray("transports"));
        io.auth = strings(options.getJSONObject("auth"));
        socket = IO.socket(options.getString("url") + options.getString("namespace"), io);
        socket.on(Socket.EVENT_CONNECT, args -> report("connect", new Object[0]));
        socket.on(Socket.EVENT_CONNECT_ERROR, args -> report("refused", args));
        socket.on(Socket.EVENT_DISCONNECT, args -> report("disconnect", args));
        socket.onAnyIncoming(this::onEvent);
        socket.io().on(Manager.EVENT_TRANSPORT, args -> watch((Transport) args[0]));
        socket.connect();
    }

    private void watch(Transport opened) {
        opened.on(Transport.EVENT_PACKET, args -> {
            if (Packet.MESSAGE.equals(((Packet<?>) args[0]).type)) {
                transport = opened.name;
            }
        });
    }

    // An event that wants an answer gets its own arguments.
    private void onEvent(Object... args) {
        int last = args.length - 1;
        if (args[last] instanceof Ack) {
            ((Ack) args[last]).call(Arrays.copyOfRange(args, 1, last));
            args = Arrays.copyOf(args, last);
        }
        report("event", args);
    }

    private void report(String what, Object... args) {
        write(what, number, args);
    }

    private static synchronized void write(String what, int number, Object... args) {
        try {
            JSONArray list = new JSONArray();
            for (Object arg : args) {
                list.put(arg instanceof Exception ? new JSONObject().put("message", arg.toString()) : encode(arg));
            }
            System.out.println(new JSONObject().put("what", what).put("number", number).put("args", list));
        } catch (JSONException error) {
            throw new IllegalStateException(error);
        }
    }

    private void obey(JSONObject command) throws Exception {
        switch (command.getString("do")) {
            case "emit" -> socket.emit(command.getString("event"), arguments(command));
            case "ask" -> {
                int question = command.getInt("question");
                Ack answered = args -> write("answer", question, args);
                socket.emit(command.getString("event"), arguments(command), answered);
            }
            case "transport" -> write("answer", command.getInt("question"), transport);
            case "close" -> {
                socket.close();
                clients.remove(number);
            }
            default -> throw new IllegalArgumentException(command.toString());
        }
    }

    private static Object[] arguments(JSONObject command) throws JSONException {
        JSONArray list = command.getJSONArray("args");
        Object[] args = new Object[list.length()];
        for (int i = 0; i < args.length; i++) {
            args[i] = decode(list.get(i));
        }
        return args;
    }

    private static String[] strings(JSONArray list) throws JSONException {
        String[] all = new String[list.length()];
        for (int i = 0; i < all.length; i++) {
            all[i] = list.getString(i);
        }
        return all;
    }

    private static Map<String, String> strings(JSONObject object) throws JSONException {
        Map<String, String> all = new HashMap<>();
        for (Iterator<?> keys = object.keys(); keys.hasNext();) {
            String key = (String) keys.next();
            all.put(key, object.getString(key));
        }
        return all;
    }

    // Bytes are {"$bytes": base64} in a line.
    private static Object encode(Object value) throws JSONException {
        if (value instanceof byte[] bytes) {
            return new JSONObject().put("$bytes", Base64.getEncoder().encodeToString(bytes));
        }
        return convert(value == null ? JSONObject.NULL : value, true);
    }

    private static Object decode(Object value) throws JSONException {
        if (value instanceof JSONObject object && object.has("$bytes")) {
            return Base64.getDecoder().decode(object.getString("$bytes"));
        }
        return convert(value, false);
    }

    private static Object convert(Object value, boolean encoding) throws JSONException {
        if (value instanceof JSONArray list) {
            JSONArray copy = new JSONArray();
            for (int i = 0; i < list.length(); i++) {
                copy.put(encoding ? encode(list.get(i)) : decode(list.get(i)));
            }
            return copy;
        }
        if (value instanceof JSONObject object) {
            JSONObject copy = new JSONObject();
            for (Iterator<?> keys = object.keys(); keys.hasNext();) {
                String key = (String) keys.next();
                copy.put(key, encoding ? encode(object.get(key)) : decode(object.get(key)));
            }
            return copy;
        }
        return value;
    }

    public static void main(String[] args) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        System.setOut(new java.io.PrintStream(System.out, true, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JSONObject command = new JSONObject(line);
            int number = command.getInt("number");
            if (command.getString("do").equals("connect")) {
                clients.put(number, new Client(number, command));
            } else {
                clients.get(number).obey(command);
            }
        }
        System.exit(0);
    }
}
