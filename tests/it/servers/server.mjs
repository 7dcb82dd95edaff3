// Answers with the path that the WHATWG URL parser finds in a request's target, decoded, in
// hexadecimal. Listens on the port it is given.
import http from "node:http";

const server = http.createServer((request, response) => {
  try {
    const { pathname } = new URL(request.url, "http://application.test");
    response.end(Buffer.from(decodeURIComponent(pathname)).toString("hex"));
  } catch {
    response.writeHead(400).end();
  }
});
server.listen(Number(process.argv[2]), "127.0.0.1");
