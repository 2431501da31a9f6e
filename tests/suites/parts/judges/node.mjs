// What node's http reads: node.mjs PORT
import { createHash } from "node:crypto";
import http from "node:http";

const server = http.createServer({ maxHeaderSize: 1 << 20, keepAliveTimeout: 60_000 }, (request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const body = Buffer.concat(pieces);
    const sum = createHash("sha1").update(body).digest("hex").slice(0, 12);
    response.writeHead(200, { "X-Read": `${request.method}:${body.length}:${sum}`, "Content-Length": 0 });
    response.end();
  });
});
server.listen(Number(process.argv[2]), "127.0.0.1");
