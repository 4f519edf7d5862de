"""What failed on the network, in a few words, and how long to wait before another attempt."""

import time
from http import HTTPStatus

import requests
import urllib3

# Replies that say "later", not "no".
TRANSIENT_STATUS = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
LONGEST_WAIT = 30.0  # seconds


def back_off(attempt: int) -> None:
    """Wait 1, 2, 4, ... and at most 30 seconds after attempt 0, 1, 2, ..."""
    time.sleep(min(2.0**attempt, LONGEST_WAIT))


def reason_of(error: BaseException, timeout: float) -> str:
    """A network error in a few words; the libraries' own text wraps three levels of objects.

    Args:
        error: as raised by requests, or by gdown with such an error as its cause.
        timeout: the seconds that the transfer was allowed to wait for a byte.
    """
    cause = error
    if not isinstance(error, requests.RequestException) and error.__cause__ is not None:
        cause = error.__cause__
    # A timeout while the body is read arrives as a ConnectionError around urllib3's own.
    inner = cause.args[0] if cause.args else None
    if isinstance(cause, requests.Timeout) or isinstance(
        inner, urllib3.exceptions.ReadTimeoutError
    ):
        return f"timed out, no byte for {timeout:g} s"
    if isinstance(cause, requests.exceptions.SSLError):
        return "the server's certificate is not accepted"
    if isinstance(cause, requests.exceptions.ProxyError):
        return "the proxy does not answer"
    if isinstance(cause, requests.exceptions.ChunkedEncodingError):
        return "the transfer was cut off"
    if isinstance(cause, requests.ConnectionError):
        return "no connection, is there a network?"
    return " ".join(str(cause).split())
