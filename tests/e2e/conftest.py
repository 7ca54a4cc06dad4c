from tests.spaces.conftest import address, app  # noqa: F401
