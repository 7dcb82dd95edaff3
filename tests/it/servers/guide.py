"""Three tests that a guide to authentication with FastAPI Users ends with, against a live URL."""

import asyncio
import sys

from httpx import AsyncClient

BASE = sys.argv[1]


async def test_register_user():
    async with AsyncClient(base_url=BASE) as ac:
        response = await ac.post("/auth/register", json={
            "email": "test@example.com",
            "password": "testpass123",
            "first_name": "Test",
            "last_name": "User"
        })
    assert response.status_code == 201, response.text


async def test_login():
    async with AsyncClient(base_url=BASE) as ac:
        response = await ac.post("/auth/jwt/login", data={
            "username": "test@example.com",
            "password": "testpass123"
        })
    assert response.status_code == 200, response.text
    assert "access_token" in response.json()


async def test_protected_route():
    # Login first to get token
    async with AsyncClient(base_url=BASE) as ac:
        login_response = await ac.post("/auth/jwt/login", data={
            "username": "admin@example.com",
            "password": "admin"
        })
        token = login_response.json()["access_token"]

        # Access protected route
        response = await ac.get("/protected", headers={
            "Authorization": f"Bearer {token}"
        })
    assert response.status_code == 200, response.text


for test in (test_register_user, test_login, test_protected_route):
    asyncio.run(test())
    print(test.__name__)
