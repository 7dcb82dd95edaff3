// Reads request heads, one a line in hexadecimal, by Node's own parser. Writes one JSON object a line:
// {"node": [method, target, [[name, value], ...]]}, or the parser's complaint as a string.
import http from "node:http";
import readline from "node:readline";
import { Duplex } from "node:stream";

const server = http.createServer();

function parse(head) {
  return new Promise((resolve) => {
    const socket = new Duplex({ read() {}, write: (chunk, encoding, done) => done() });
    const finish = (found) => {
      server.removeAllListeners("request");
      server.removeAllListeners("upgrade");
      server.removeAllListeners("clientError");
      socket.destroy();
      resolve(found);
    };
    const taken = (request) => {
      const headers = [];
      for (let at = 0; at < request.rawHeaders.length; at += 2) {
        headers.push([request.rawHeaders[at].toLowerCase(), request.rawHeaders[at + 1]]);
      }
      finish([request.method, request.url, headers]);
    };
    server.on("request", taken);
    server.on("upgrade", taken);
    server.on("clientError", (error) => finish(String(error.code)));
    server.emit("connection", socket);
    socket.push(head);
  });
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(JSON.stringify({ node: await parse(Buffer.from(line, "hex")) }));
}
