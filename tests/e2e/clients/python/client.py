# SPDX-License-Identifier: Apache-2.0
"""The Python client of Socket.IO under the commands of clients/README.md."""
import base64
import json
import queue
import sys
import threading

import socketio

lines = queue.SimpleQueue()
clients = {}


def write_lines():
    while True:
        print(lines.get(), flush=True)


def report(what, number, *args):
    lines.put(json.dumps({"what": what, "number": number, "args": encode(args)}))


def encode(value):
    """Bytes are {"$bytes": base64} in a line."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    return value


def decode(value):
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        if "$bytes" in value:
            return base64.b64decode(value["$bytes"])
        return {key: decode(item) for key, item in value.items()}
    return value


class Client:
    def __init__(self, number, command):
        self.number = number
        self.namespace = command["namespace"]
        self.io = socketio.Client(reconnection_delay=0.1, reconnection_delay_max=0.5,
                                  randomization_factor=0,
                                  serializer="msgpack" if "msgpack" in sys.argv else "default")
        handlers = {"connect": self.on_connect, "connect_error": self.on_refused,
                    "disconnect": self.on_disconnect, "*": self.on_event}
        for event, handler in handlers.items():
            self.io.on(event, handler, namespace=self.namespace)
        threading.Thread(target=self.connect, args=(command,), daemon=True).start()

    def connect(self, command):
        try:
            self.io.connect(command["url"], auth=command["auth"], namespaces=self.namespace,
                            transports=command["transports"], socketio_path=command["path"],
                            wait_timeout=30)
        except socketio.exceptions.ConnectionError:
            pass  # on_refused has said so

    def on_connect(self):
        report("connect", self.number)

    def on_refused(self, error=None):
        report("refused", self.number, error if isinstance(error, dict) else {"message": error})

    def on_disconnect(self, reason):
        report("disconnect", self.number, reason)

    def on_event(self, *event):
        """An event that wants an answer gets its own arguments."""
        report("event", self.number, *event)
        return event[1:]

    def obey(self, command):
        what = command["do"]
        if what == "close":
            del clients[self.number]
            threading.Thread(target=self.io.shutdown, daemon=True).start()
        elif what == "transport":
            report("answer", command["question"], self.io.transport())
        else:
            answered = None
            if what == "ask":
                def answered(*args):
                    report("answer", command["question"], *args)
            try:
                self.io.emit(command["event"], tuple(decode(command["args"])),
                             namespace=self.namespace, callback=answered)
            except socketio.exceptions.BadNamespaceError:
                pass  # not connected just now, which on_disconnect has said


def main():
    # The client handles each message in a thread of its own; so they run one after the other.
    sys.setswitchinterval(10)
    threading.Thread(target=write_lines, daemon=True).start()
    for line in sys.stdin:
        command = json.loads(line)
        number = command["number"]
        if command["do"] == "connect":
            clients[number] = Client(number, command)
        else:
            clients[number].obey(command)


if __name__ == "__main__":
    main()
