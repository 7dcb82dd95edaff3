"""An ordinary FastAPI application that leaves signing in to the gateway in front of it.

It knows nothing of passwords, sessions or tokens. Who calls, and what they may, stands in headers
which the gateway sets, and which nobody else can: it removes them from every request it is sent.
The application must therefore be reachable through the gateway alone, here by listening on
127.0.0.1.
"""

from typing import Annotated

from fastapi import Depends, FastAPI, Header
from pydantic import BaseModel

app = FastAPI(title="An application behind Portcullis")


class Caller(BaseModel):
    """What the gateway says about the caller. Everything is empty for somebody not signed in."""

    user_id: str | None
    email: str | None
    name: str | None
    roles: list[str]
    permissions: list[str]


def caller(
    x_auth_user_id: Annotated[str | None, Header()] = None,
    x_auth_email: Annotated[str | None, Header()] = None,
    x_auth_name: Annotated[str | None, Header()] = None,
    x_auth_roles: Annotated[str, Header()] = "",
    x_auth_permissions: Annotated[str, Header()] = "",
) -> Caller:
    return Caller(
        user_id=x_auth_user_id,
        email=x_auth_email,
        name=x_auth_name,
        roles=[role for role in x_auth_roles.split(",") if role],
        permissions=[permission for permission in x_auth_permissions.split(",") if permission],
    )


CurrentCaller = Annotated[Caller, Depends(caller)]


@app.get("/")
async def public_route():
    return {"message": "This is a public endpoint"}


@app.get("/protected")
async def protected_route(user: CurrentCaller):
    return {
        "message": "This is a protected endpoint",
        "user_id": user.user_id,
        "email": user.email,
    }


@app.get("/admin")
async def admin_route(user: CurrentCaller):
    return {"message": "Admin access granted", "user": user.email, "roles": user.roles}


@app.get("/dashboard")
async def dashboard_route(user: CurrentCaller):
    return {"message": "Dashboard access granted", "permissions": user.permissions}


@app.get("/users/manage")
async def manage_users(user: CurrentCaller):
    return {"message": "User management access granted", "user": user.email}
