"""The token of a head that asks for one: sent where this machine has it, and missed in words where it has none."""

from __future__ import annotations

import logging

import grpc
from ray._private.authentication import authentication_token_setup
from ray._private.authentication.http_token_authentication import get_auth_headers_if_auth_enabled
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

from caig_rl.errors import UserError

PROBE_TIMEOUT_S = 10.0


def send_token_if_any() -> None:
    """Ray's own clients send the token that they find only where RAY_AUTH_MODE says so."""
    logging.getLogger(authentication_token_setup.__name__).setLevel(logging.ERROR)
    authentication_token_setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def token_missing(address: str) -> UserError:
    """For a head at `address` that did not take the token of this machine, or got none."""
    return UserError(
        f"{address} asks for a token, and the one here is missing or another: copy the head's ~/.ray/auth_token to this machine, "
        "or name its place by RAY_AUTH_TOKEN_PATH"
    )


def prepare_to_join(address: str) -> None:
    """Ask the head at "HOST:PORT" whether it wants a token before Ray does, whose answer is twenty lines that name no token.

    A process that sends tokens also asks for them, so one that joins a head without must not.

    Raises:
        UserError: it wants one, and does not take what this machine has.
    """
    if not _refuses(address, {}):
        return
    send_token_if_any()
    headers = get_auth_headers_if_auth_enabled({})
    if not headers or _refuses(address, headers):
        raise token_missing(address)


def _refuses(address: str, headers: dict[str, str]) -> bool:
    metadata = [(name.lower(), value) for name, value in headers.items()]
    with grpc.insecure_channel(address) as channel:
        head = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        try:
            head.GetClusterId(gcs_service_pb2.GetClusterIdRequest(), timeout=PROBE_TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            # What else is wrong there, joining says.
            return bool(error.code() is grpc.StatusCode.UNAUTHENTICATED)
    return False
