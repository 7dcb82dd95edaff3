// A front end for the endpoints that FastAPI Users documents. Nothing in it knows what answers them.
"use strict";

// The page may stand on another site than the API: ?api=http://localhost:8080
const api = new URLSearchParams(location.search).get("api") ?? "";
const part = (id) => document.getElementById(id);
const say = (text) => { part("said").textContent = text; };

async function call(method, path, body) {
  const isForm = body instanceof URLSearchParams;
  const answer = await fetch(api + path, {
    method,
    credentials: "include",
    headers: body && !isForm ? { "Content-Type": "application/json" } : {},
    body: body && !isForm ? JSON.stringify(body) : body,
  });
  const text = await answer.text();
  const json = text ? JSON.parse(text) : null;
  if (answer.ok) return json;
  throw Object.assign(new Error(reason(json.detail)), { status: answer.status });
}

// `detail` is a code, a code with a reason, or a list of what does not fit in the body.
function reason(detail) {
  if (Array.isArray(detail)) return detail.map((one) => `${one.loc.at(-1)}: ${one.msg}`).join("; ");
  return detail.reason ?? detail;
}

async function show() {
  let user = null;
  try {
    user = await call("GET", "/users/me");
  } catch (error) {
    if (error.status !== 401) throw error;
  }
  part("signed-in").hidden = !user;
  part("signed-out").hidden = !!user;
  part("who").textContent = user ? `${user.first_name ?? ""} (${user.email})` : "";
}

function on(id, work) {
  part(id).addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    try {
      say(await work(Object.fromEntries(new FormData(form))));
      form.reset();
      await show();
    } catch (error) {
      say(`Not done: ${error.message}`);
    }
  });
}

on("register", async (fields) => {
  await call("POST", "/auth/register", fields);
  return `Registered. A mail is on its way to ${fields.email}.`;
});

on("verify", async ({ token }) => {
  const user = await call("POST", "/auth/verify", { token });
  return `${user.email} is verified.`;
});

on("sign-in", async (fields) => {
  await call("POST", "/auth/cookie/login", new URLSearchParams(fields));
  return "Signed in.";
});

on("change", async ({ password }) => {
  await call("PATCH", "/users/me", { password });
  return "Your password is changed.";
});

on("sign-out", async () => {
  await call("POST", "/auth/cookie/logout");
  return "Signed out.";
});

show().catch((error) => say(`Not done: ${error.message}`));
