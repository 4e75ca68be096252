"""Webhooks over HTTP: a secret shown once, each tenant its own, none aimed at a metadata service."""

import httpx2
import pytest
from tests.unit.api.fakes import bearer


async def test_life_of_a_webhook(client: httpx2.AsyncClient) -> None:
    own, other = bearer(tenant="one"), bearer(tenant="two")
    made = await client.post("/api/webhooks", json={"url": "https://lms.example.org/hook"}, headers=own)
    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    listed = (await client.get("/api/webhooks", headers=own)).json()["items"]
    assert [(item["url"], item["waiting"], item["dead"]) for item in listed] == [("https://lms.example.org/hook", 0, 0)]
    assert "secret" not in listed[0]
    assert (await client.get("/api/webhooks", headers=other)).json()["items"] == []
    path = f"/api/webhooks/{made.json()['id']}"
    assert (await client.post(f"{path}/replay", headers=own)).json() == {"deliveries": 0}
    assert (await client.delete(path, headers=other)).status_code == 404
    assert (await client.delete(path, headers=own)).status_code == 204
    assert (await client.get("/api/webhooks", headers=own)).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": 5}, "url"),
        ({"url": "ftp://x"}, "url"),
        ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "http://user:pass@host/"}, "url"),
        ({"url": "https://host/", "secret": "mine"}, "secret"),
    ],
)
async def test_wrong_bodies_are_refused_and_the_field_named(
    client: httpx2.AsyncClient, body: dict[str, object], field: str
) -> None:
    answer = await client.post("/api/webhooks", json=body, headers=bearer())
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_reading_does_not_permit_making(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/api/webhooks", json={"url": "https://host/"}, headers=bearer("recordings:read"))
    assert answer.status_code == 403
