"""The version of this installation."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("remit")
except PackageNotFoundError:
    __version__ = version("remit-migrations")  # the tools for migrations alone
