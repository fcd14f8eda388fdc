import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook
from svix.webhooks import WebhookVerificationError as SvixVerificationError

from pgtrail_worker.signature import sign

SECRETS = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())
BODIES = st.dictionaries(st.text(), st.text()).map(lambda value: json.dumps(value, ensure_ascii=True).encode())


def now() -> int:
    return int(datetime.now(UTC).timestamp())


@given(SECRETS, BODIES)
def test_the_official_libraries_verify_what_is_signed(secret: str, body: bytes) -> None:
    headers = sign("evt_1", now(), body, [secret])
    assert Webhook(secret).verify(body, headers) == json.loads(body)
    # It returns nothing; it raises where a signature is wrong, as the last test shows.
    SvixWebhook(secret).verify(body, headers)


@given(SECRETS, SECRETS, BODIES)
def test_while_a_secret_is_rotated_the_old_one_and_the_new_one_both_verify(old: str, new: str, body: bytes) -> None:
    headers = sign("evt_1", now(), body, [new, old])
    assert Webhook(old).verify(body, headers) == Webhook(new).verify(body, headers)


@pytest.mark.parametrize("changed", ["id", "timestamp", "body"])
def test_a_change_of_anything_that_is_signed_is_noticed(changed: str) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    body = b"{}"
    headers = sign("evt_1", now(), body, [secret])
    if changed == "id":
        headers["webhook-id"] = "evt_2"
    elif changed == "timestamp":
        headers["webhook-timestamp"] = str(now() - 1)
    else:
        body = b"{ }"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)
    with pytest.raises(SvixVerificationError):
        SvixWebhook(secret).verify(body, headers)
