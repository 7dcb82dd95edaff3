"""A database as FastAPI Users writes it: fastapi_users_database.py URL plain|guide

`plain` has the library's own tables; `guide` those of a project with roles and a longer profile. The accounts are
made by the library itself, so their passwords are hashed as it hashes them. Prints their ids by e-mail, as JSON.
"""

import asyncio
import json
import sys
import uuid
from datetime import datetime

import bcrypt
from fastapi_users import BaseUserManager, UUIDIDMixin, schemas
from fastapi_users_db_sqlalchemy import (
    SQLAlchemyBaseOAuthAccountTableUUID,
    SQLAlchemyBaseUserTableUUID,
    SQLAlchemyUserDatabase,
)
from sqlalchemy import Column, DateTime, ForeignKey, Integer, String
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, relationship

url, shape = sys.argv[1:]
is_guide = shape == "guide"
PASSWORD = "seven lanterns on the quay"


class Base(DeclarativeBase):
    pass


if is_guide:

    class OAuthAccount(SQLAlchemyBaseOAuthAccountTableUUID, Base):
        user_id = Column(UUID(as_uuid=True), ForeignKey("users.id"), nullable=False)

    class User(SQLAlchemyBaseUserTableUUID, Base):
        __tablename__ = "users"
        first_name = Column(String)
        last_name = Column(String)
        organization = Column(String)
        department = Column(String)
        phone = Column(String)
        created_at = Column(DateTime(timezone=True))
        last_login = Column(DateTime(timezone=True))
        login_count = Column(Integer)
        failed_login_count = Column(Integer)
        oauth_accounts = relationship("OAuthAccount", lazy="joined")

    class Role(Base):
        __tablename__ = "roles"
        id = Column(UUID(as_uuid=True), primary_key=True, default=uuid.uuid4)
        name = Column(String(50), unique=True, nullable=False)
        description = Column(String(200))

    class Permission(Base):
        __tablename__ = "permissions"
        id = Column(UUID(as_uuid=True), primary_key=True, default=uuid.uuid4)
        name = Column(String(50), unique=True, nullable=False)
        resource = Column(String(50), nullable=False)
        action = Column(String(20), nullable=False)

    class UserRole(Base):
        __tablename__ = "user_roles"
        user_id = Column(UUID(as_uuid=True), ForeignKey("users.id"), primary_key=True)
        role_id = Column(UUID(as_uuid=True), ForeignKey("roles.id"), primary_key=True)

    class RolePermission(Base):
        __tablename__ = "role_permissions"
        role_id = Column(UUID(as_uuid=True), ForeignKey("roles.id"), primary_key=True)
        permission_id = Column(UUID(as_uuid=True), ForeignKey("permissions.id"), primary_key=True)

else:

    class OAuthAccount(SQLAlchemyBaseOAuthAccountTableUUID, Base):
        pass

    class User(SQLAlchemyBaseUserTableUUID, Base):
        oauth_accounts = relationship("OAuthAccount", lazy="joined")


class Manager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    pass


async def fill(session):
    database = SQLAlchemyUserDatabase(session, User, OAuthAccount)
    manager = Manager(database)
    made = {}
    for name, flags in [
        ("ann", {"is_superuser": True, "is_verified": True}),
        ("ben", {}),
        ("cleo", {"is_active": False}),
        ("dora", {"is_verified": True}),
    ]:
        create = schemas.BaseUserCreate(email=f"{name}@example.com", password=PASSWORD, **flags)
        made[name] = await manager.create(create)
    # Of a project that is older than the library's present hashing.
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    await database.update(made["ben"], {"hashed_password": hashed})
    await manager.oauth_callback(
        "google", "token", "google-dora", "dora@example.com", associate_by_email=True
    )
    await manager.oauth_callback("openid", "token", "sub|eve", "eve@example.com", is_verified_by_default=True)
    if is_guide:
        more = {
            "first_name": "Ann",
            "organization": "Quay",
            "created_at": datetime.fromisoformat("2024-01-31T18:00:00+00:00"),
            "last_login": datetime.fromisoformat("2025-01-31T18:00:00+00:00"),
            "login_count": 7,
            "failed_login_count": 2,
        }
        await database.update(made["ann"], more)
        editor, admin = Role(name="editor", description="Edits"), Role(name="admin")
        write = Permission(name="articles:write", resource="articles", action="write")
        read = Permission(name="read articles", resource="articles", action="read")
        session.add_all([editor, admin, write, read])
        await session.flush()
        for permission in [write, read]:
            session.add(RolePermission(role_id=editor.id, permission_id=permission.id))
        session.add(UserRole(user_id=made["ann"].id, role_id=admin.id))
        session.add(UserRole(user_id=made["ben"].id, role_id=editor.id))
        await session.commit()
    return {name: str(user.id) for name, user in made.items()}


async def main():
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with async_sessionmaker(engine, expire_on_commit=False)() as session:
        print(json.dumps(await fill(session)))
    await engine.dispose()


asyncio.run(main())
