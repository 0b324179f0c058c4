"""No key comes through: in addresses, headers, messages, or as a value of the environment."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.footage.listing import find_footage
from pipelines.redact import check_no_secret, contains_secret, redact
from pipelines.storage import s3

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLE"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET}@bucket/walk.mp4: no", "s3://***@bucket/walk.mp4: no"),
        (f'no connection to "http://user:{SECRET}@host:8333/b"', 'no connection to "http://***@host:8333/b"'),
        (f"https://{SECRET.replace('/', '')}@hub.example/repo", "https://***@hub.example/repo"),
        (f"https://b.example/k?X-Amz-Date=1&X-Amz-Signature={SECRET}",
            "https://b.example/k?X-Amz-Date=1&X-Amz-Signature=***"),
        (f"https://b.example/k?sig={SECRET}&x=1", "https://b.example/k?sig=***&x=1"),
        (f"{{'Authorization': 'Bearer {SECRET}'}}", "{'Authorization': ***"),
        (f"x-amz-security-token: {SECRET}", "x-amz-security-token: ***"),
        ("the key AKIAIOSFODNN7EXAMPLE is unknown", "the key *** is unknown"),
    ],
)  # fmt: skip
def test_keys_are_not_shown(text, shown):
    assert redact(text) == shown
    assert SECRET not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/a:b@c.mp4", "s3://bucket/me@home.mp4", "ray://127.0.0.1:10001", "http://[::1]:8265/a@b",
        "10.0.0.1:6379",
        "/footage/a?b=c.mp4", "file:///footage/x.mp4", "a man:a plan @ the canal", "12:30@noon",
    ],
)  # fmt: skip
def test_what_holds_none_stays_as_it_is(text):
    assert redact(text) == text
    assert not contains_secret(text)
    check_no_secret("footage", text)


@given(
    st.text("/+abc012", min_size=8, max_size=40),
    st.text("ab:/ \n@'\"", max_size=20),
    st.text("ab:/ \n@'\"", max_size=20),
)
@settings(max_examples=60, deadline=None)
def test_a_secret_of_the_environment_is_shown_nowhere(secret, before, after):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        patch.setenv("SOME_API_KEY", f"{secret}longer")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/home/somebody/.aws/credentials")
        assert secret not in redact(f"{before}{secret}{after}{secret}longer").replace("***", "\0")
        assert redact("read /home/somebody/.aws/credentials") == "read /home/somebody/.aws/credentials"


def test_an_address_of_s3_with_a_password_is_refused_and_not_repeated(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://user:hunter2hunter2@127.0.0.1:9")
    with pytest.raises(
        ValueError, match=r"AWS_ENDPOINT_URL_S3=http://\*\*\*@127\.0\.0\.1:9 holds a key"
    ) as raised:
        s3.client()
    assert "hunter2" not in str(raised.value)


def test_a_row_of_a_list_with_a_key_in_its_address_is_unreadable_and_keeps_no_key(tmp_path):
    listed = tmp_path / "list.csv"
    listed.write_text(
        f"uri,text\nhttps://b.example/a.mp4?X-Amz-Signature={SECRET},one\ns3://somebody:{SECRET}@bucket/b.mp4,two\n"
    )
    found = find_footage(str(listed))
    assert [row.source_uri for row in found.missing] == [
        "https://b.example/a.mp4?X-Amz-Signature=***",
        "s3://***@bucket/b.mp4",
    ]
    assert all("a key or password" in row.message for row in found.missing)
    assert SECRET not in repr(found)
