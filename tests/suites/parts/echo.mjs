// Echoes the messages of WebSockets, compressed where a client asks for that: echo.mjs FOLDER-OF-WS PORT
import { createRequire } from "node:module";

const { WebSocketServer } = createRequire(`${process.argv[2]}/`)("ws");
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[3]), perMessageDeflate: true, maxPayload: 0 });
server.on("connection", (socket) => {
  socket.on("message", (message, binary) => socket.send(message, { binary }));
  socket.on("error", () => {});
});
