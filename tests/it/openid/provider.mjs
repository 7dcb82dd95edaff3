// An OpenID provider for tests: oidc-provider with clients and people that a test names, and changes
// while it runs. Arguments: where the package is, and a port. What is below /control/ is the test's.
import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [, , packageDirectory, port] = process.argv;
const entry = pathToFileURL(path.join(packageDirectory, "lib", "index.js"));
const { Provider } = await import(entry.href);

const issuer = `http://127.0.0.1:${port}`;
let people = {};
let requests = {};
let serve = (request, response) => response.writeHead(503).end();

// Whoever is not named any more is nobody, at the next refresh too.
function account(context, id) {
  const claims = people[id];
  return claims && { accountId: id, claims: async () => ({ sub: id, ...claims }) };
}

function setUp({ clients, users, options = {} }) {
  people = users;
  requests = {};
  const provider = new Provider(issuer, {
    clients: clients.map((client) => ({
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      ...client,
    })),
    findAccount: account,
    scopes: ["openid", "offline_access", "email", "profile", "groups"],
    claims: {
      openid: ["sub"],
      email: ["email", "email_verified"],
      profile: ["name", "given_name", "family_name", "preferred_username"],
      groups: ["groups"],
    },
    features: {
      devInteractions: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      revocation: { enabled: true },
    },
    pkce: { required: () => true },
    cookies: { keys: ["a key of tests"] },
    rotateRefreshToken: true,
    // Without its own dispatcher, which calls no address of this machine.
    fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
    ...options,
  });
  provider.on("backchannel.error", (context, error) => console.error(error));
  provider.on("server_error", (context, error) => console.error(error));
  provider.on("grant.error", (context, error) => console.error(error.message, error.error_detail));
  serve = provider.callback();
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString() || "null");
}

async function control(request, response) {
  switch (`${request.method} ${request.url}`) {
    case "PUT /control/setup":
      setUp(await body(request));
      break;
    case "PUT /control/users":
      people = await body(request);
      break;
    case "GET /control/requests":
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify(requests));
      return;
    default:
      response.writeHead(404).end();
      return;
  }
  response.writeHead(204).end();
}

http
  .createServer((request, response) => {
    if (request.url.startsWith("/control/")) {
      control(request, response).catch((error) => response.writeHead(500).end(String(error)));
      return;
    }
    const { pathname } = new URL(request.url, issuer);
    requests[pathname] = (requests[pathname] ?? 0) + 1;
    serve(request, response);
  })
  .listen(Number(port), "127.0.0.1");
