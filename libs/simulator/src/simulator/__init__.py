"""A Bitget that checks signatures. Embedders load an Exchange, then serve it (`running`) or take its ASGI
applications."""

from simulator.accounts import Account, Holding, Style
from simulator.app import build_app
from simulator.config import SAMPLE, ConfigError, load
from simulator.control import build_control
from simulator.exchange import Exchange, Setup
from simulator.faults import Fault
from simulator.listen import Addresses, running

__all__ = [
    "SAMPLE",
    "Account",
    "Addresses",
    "ConfigError",
    "Exchange",
    "Fault",
    "Holding",
    "Setup",
    "Style",
    "build_app",
    "build_control",
    "load",
    "running",
]
