// SPDX-License-Identifier: Apache-2.0
// The peer of the benchmarks: a stock Socket.IO server that does what Peal is asked to do in them.
// Prints `public=127.0.0.1:PORT`. Tokens are not checked, nothing is stored.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(new URL("../e2e/package.json", import.meta.url));
const { Server } = require("socket.io");

const http = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const { event, args, to } = JSON.parse(Buffer.concat(parts).toString());
    io.to(to.rooms).emit(event, ...args);
    response.writeHead(202, { "Content-Length": "2" }).end("{}");
  });
});
const io = new Server(http, { serveClient: false });

io.on("connection", (socket) => {
  socket.emit("hub:ready", {});
  socket.on("join_room", ({ roomId }, acknowledge) => {
    socket.join(roomId);
    acknowledge?.({ ok: true });
  });
  socket.on("notification:received", (_, acknowledge) => acknowledge?.({ ok: true }));
});

http.listen(0, "127.0.0.1", () => console.log(`public=127.0.0.1:${http.address().port}`));
