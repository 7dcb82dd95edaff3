//! The document of the API (`OpenAPI` 3.1), made of the same tables that requests are read by.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::Method;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::bodies::{MeBody, Problem, SessionBody, TokenBody, UserBody};
use super::endpoint::{Access, Endpoint};
use super::invitations::InvitationBody;
use super::operation::{Gives, Operation, Takes, endpoints};
use super::shape::{Field, Kind, Null, Shape};
use crate::config::Config;

/// The document, written once for each configuration.
#[derive(Default)]
pub(super) struct Document {
    last: ArcSwapOption<(Arc<Config>, Bytes)>,
}

impl Document {
    /// As it is true of a configuration.
    pub(super) fn of(&self, config: &Arc<Config>) -> Result<Bytes, serde_json::Error> {
        let last = self.last.load();
        if let Some((_, text)) = last.as_deref().filter(|(of, _)| Arc::ptr_eq(of, config)) {
            return Ok(text.clone());
        }
        let text = Bytes::from(serde_json::to_vec(&write(config))?);
        self.last.store(Some(Arc::new((Arc::clone(config), text.clone()))));
        Ok(text)
    }
}

fn write(config: &Config) -> Value {
    let mut writer = Writer::new();
    let mut paths = Map::new();
    let providers = config.providers.iter().map(|provider| provider.name.as_str());
    for endpoint in &endpoints(providers) {
        for path in endpoint.paths() {
            let at = format!("{}/{path}", config.portal.path);
            paths.insert(at, writer.address(endpoint, &path, ""));
            let below = config.portal.users_path.as_ref().zip(path.strip_prefix("users"));
            if let Some((users, rest)) = below {
                paths.insert(format!("{users}{rest}"), writer.address(endpoint, &path, "_short"));
            }
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis", "version": env!("CARGO_PKG_VERSION"),
            "description": "Accounts and sessions, as front ends of FastAPI Users know them.",
        },
        "servers": [{ "url": config.public_url.to_string() }],
        "paths": paths,
        "components": {
            "schemas": writer.finish(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "cookie": {
                    "type": "apiKey", "in": "cookie", "name": config.sessions.cookie.wire_name,
                },
            },
        },
    })
}

/// Writes operations, and remembers the schemas that they refer to.
struct Writer {
    generator: SchemaGenerator,
    bodies: Map<String, Value>,
}

impl Writer {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self { generator: SchemaGenerator::new(settings), bodies: Map::new() }
    }

    fn finish(mut self) -> Map<String, Value> {
        let mut schemas = self.generator.take_definitions(true);
        schemas.extend(self.bodies);
        schemas
    }

    fn address(&mut self, endpoint: &Endpoint, path: &str, suffix: &str) -> Value {
        let name = path.split('/').next().unwrap_or_default();
        let mut methods = Map::new();
        for operation in endpoint.operations() {
            // What stands at several addresses needs as many names.
            let suffix = if let Endpoint::Vouch(leg) = endpoint {
                format!("_{}", leg.provider).trim_end_matches('_').to_owned()
            } else if endpoint.paths().len() > 1 {
                format!("_{name}")
            } else {
                suffix.to_owned()
            };
            let key = operation.method.as_str().to_lowercase();
            methods.insert(key, self.operation(endpoint, &operation, &suffix));
        }
        if path.ends_with("{id}") {
            let id = json!({
                "name": "id", "in": "path", "required": true,
                "schema": { "type": "string", "format": "uuid" },
            });
            methods.insert("parameters".to_owned(), json!([id]));
        }
        Value::Object(methods)
    }

    fn operation(&mut self, endpoint: &Endpoint, operation: &Operation, suffix: &str) -> Value {
        let mut written = json!({
            "operationId": format!("{}{suffix}", operation.id),
            "summary": operation.summary,
            "responses": self.answers(endpoint, operation),
            "security": match endpoint.access() {
                Access::Anybody => json!([{}, { "bearer": [] }, { "cookie": [] }]),
                Access::SignedIn | Access::Superuser => json!([{ "bearer": [] }, { "cookie": [] }]),
            },
        });
        let body = match operation.takes {
            Takes::Nothing => None,
            Takes::Json(shape) => {
                Some(json!({ "application/json": { "schema": self.body(shape) } }))
            }
            Takes::Login => Some(json!({
                "application/x-www-form-urlencoded": { "schema": login_form() },
                "multipart/form-data": { "schema": login_form() },
            })),
            Takes::Notice => Some(json!({ "application/x-www-form-urlencoded": { "schema": {
                "type": "object", "required": ["logout_token"],
                "properties": { "logout_token": { "type": "string" } },
            } } })),
        };
        if !operation.asks.is_empty() {
            written["parameters"] = operation.asks.iter().map(|name| parameter(name)).collect();
        }
        if let Some(content) = body {
            written["requestBody"] = json!({ "required": true, "content": content });
        }
        written
    }

    /// Every answer: the one when all is well, and those of what may go wrong.
    fn answers(&mut self, endpoint: &Endpoint, operation: &Operation) -> Value {
        let (status, gives) = operation.gives;
        let mut answers = Map::new();
        answers.insert(status.to_string(), self.success(gives));
        if !operation.leads_to.is_empty() {
            answers[&status.to_string()]["links"] = links(operation.leads_to);
        }
        let problem = self.generator.subschema_for::<Problem>();
        for (status, why) in refusals(endpoint, operation) {
            answers.insert(
                status.to_string(),
                json!({
                    "description": why,
                    "content": { "application/json": { "schema": problem } },
                }),
            );
        }
        Value::Object(answers)
    }

    fn success(&mut self, gives: Gives) -> Value {
        let schema = match gives {
            Gives::Nothing => return json!({ "description": "Done" }),
            Gives::Null => json!({ "type": "null" }),
            Gives::User => self.reference::<UserBody<'_>>(),
            Gives::Me => self.reference::<MeBody<'_>>(),
            Gives::Token => self.reference::<TokenBody>(),
            Gives::Links => json!({ "type": "array", "items": {
                "type": "object", "required": ["provider", "label", "account_email", "linked_at"],
                "properties": {
                    "provider": { "type": "string" }, "label": { "type": ["string", "null"] },
                    "account_email": { "type": ["string", "null"] },
                    "linked_at": { "type": "string", "format": "date-time" },
                },
            } }),
            Gives::Invitation => self.reference::<InvitationBody<'_>>(),
            Gives::Invitations => self.reference::<Vec<InvitationBody<'_>>>(),
            Gives::Document => json!({ "type": "object" }),
            Gives::Departure => json!({
                "type": "object", "required": ["authorization_url"],
                "properties": { "authorization_url": { "type": "string", "format": "uri" } },
            }),
            Gives::Session => json!({ "oneOf": [
                self.reference::<SessionBody<'_>>(),
                {
                    "type": "object", "required": ["authenticated"], "additionalProperties": false,
                    "properties": { "authenticated": { "const": false } },
                },
            ] }),
        };
        json!({ "description": "Done", "content": { "application/json": { "schema": schema } } })
    }

    fn reference<T: JsonSchema>(&mut self) -> Value {
        Schema::to_value(self.generator.subschema_for::<T>())
    }

    /// A reference to the schema of a body.
    fn body(&mut self, shape: &Shape) -> Value {
        let properties: Map<String, Value> =
            shape.fields().map(|field| (field.name.to_owned(), schema_of(field))).collect();
        let needed: Vec<&str> =
            shape.fields().filter(|field| field.is_needed).map(|field| field.name).collect();
        let schema = json!({ "type": "object", "properties": properties, "required": needed });
        self.bodies.insert(shape.name.to_owned(), schema);
        json!({ "$ref": format!("#/components/schemas/{}", shape.name) })
    }
}

fn schema_of(field: &Field) -> Value {
    if field.kind == Kind::List {
        return json!({ "type": ["array", "null"], "items": { "type": "string" } });
    }
    let (kind, format) = match field.kind {
        Kind::Email => ("string", Some("email")),
        Kind::Text => ("string", None),
        Kind::Password => ("string", Some("password")),
        Kind::Flag => ("boolean", None),
        Kind::List => ("array", None),
    };
    let mut schema = match field.null {
        Null::Refused => json!({ "type": kind }),
        Null::Absent | Null::Empty => json!({ "type": [kind, "null"] }),
    };
    if let Some(format) = format {
        schema["format"] = format.into();
    }
    schema
}

/// A parameter of the query; scopes may be several.
fn parameter(name: &str) -> Value {
    let schema = match name {
        "scopes" => json!({ "type": "array", "items": { "type": "string" } }),
        _ => json!({ "type": "string" }),
    };
    json!({ "name": name, "in": "query", "required": false, "schema": schema })
}

fn login_form() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["username", "password"],
        "properties": {
            "username": { "type": "string", "minLength": 1 },
            "password": { "type": "string", "minLength": 1, "format": "password" },
            "grant_type": { "type": "string", "pattern": "^password$" },
            "scope": text, "client_id": text, "client_secret": text,
        },
    })
}

/// Where what was just made is found.
fn links(operations: &[&str]) -> Value {
    let link = |id| json!({ "operationId": id, "parameters": { "id": "$response.body#/id" } });
    operations.iter().map(|id| ((*id).to_owned(), link(*id))).collect()
}

/// What may go wrong, by status.
fn refusals(endpoint: &Endpoint, operation: &Operation) -> Vec<(u16, String)> {
    let is_known = match endpoint.access() {
        Access::Anybody => false,
        Access::SignedIn | Access::Superuser => true,
    };
    // A provider's notice that does not fit is a bad one.
    let (has_body, has_fields) = match operation.takes {
        Takes::Nothing => (false, false),
        Takes::Notice => (true, false),
        Takes::Json(_) | Takes::Login => (true, true),
    };
    let bad = if operation.codes.is_empty() {
        "The request contradicts itself".to_owned()
    } else {
        format!("{}, or the request contradicts itself", operation.codes.join(", "))
    };
    let found = [
        (400, true, bad.as_str()),
        (401, is_known, "Nobody is signed in"),
        (
            403,
            is_known || operation.asks_provider || operation.method != Method::GET,
            "The caller may not do this",
        ),
        (
            404,
            matches!(endpoint, Endpoint::User(_) | Endpoint::Invitation(_) | Endpoint::Vouch(_)),
            "There is nobody and nothing of this id",
        ),
        (408, has_body, "The body took too long"),
        (413, has_body, "The body is too large"),
        (422, has_fields, "The body does not fit; `detail` lists why"),
        (429, operation.is_limited, "Too many attempts; `Retry-After` says when to come again"),
        (502, operation.asks_provider, "The provider failed"),
        (503, true, "The database cannot be asked at the moment"),
    ];
    let meant = found.into_iter().filter(|(_, is_meant, _)| *is_meant);
    meant.map(|(status, _, why)| (status, why.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::super::shape::CHANGE;
    use super::*;

    #[test]
    fn a_body_of_the_document_has_the_fields_that_are_read() {
        let mut writer = Writer::new();
        writer.body(&CHANGE);
        let schemas = writer.finish();
        let properties = schemas["UserUpdate"]["properties"].as_object().unwrap();
        assert_eq!(properties.len(), CHANGE.fields().count());
        assert_eq!(properties["password"]["type"], json!(["string", "null"]));
        assert_eq!(properties["is_active"]["type"], "boolean");
    }
    fn config() -> Arc<Config> {
        let text = "upstreams: { app: \"http://127.0.0.1:3000\" }\nproviders:\n  corp: { kind: oidc, \
             issuer: \"https://id.example.com\", client_id: us, who: anyone }\n";
        let none = std::collections::BTreeMap::<String, String>::new();
        Arc::new(crate::config::load_text(text, std::path::Path::new("p.yaml"), &none).unwrap())
    }

    #[test]
    fn the_document_is_written_once_for_each_configuration() {
        let (document, one, other) = (Document::default(), config(), config());
        let first = document.of(&one).unwrap();
        assert_eq!(first.as_ptr(), document.of(&one).unwrap().as_ptr());
        assert_ne!(first.as_ptr(), document.of(&other).unwrap().as_ptr());
    }

    #[test]
    fn refusals_are_those_that_come() {
        let document = write(&config());
        let answers =
            |path: &str, method: &str| document["paths"][path][method]["responses"].clone();
        let tells = |answers: &Value, code: &str| answers["400"].to_string().contains(code);
        let notice = answers("/auth/corp/backchannel-logout", "post");
        assert!(notice["413"].is_object() && notice["422"].is_null(), "{notice}");
        assert!(answers("/auth/jwt/login", "post")["422"].is_object());
        let arrived = answers("/auth/corp/callback", "get");
        assert!(tells(&arrived, "LOGIN_USER_NOT_VERIFIED"), "{arrived}");
        assert!(tells(&answers("/auth/register", "post"), "INVITATION_BAD_TOKEN"));
    }
}
