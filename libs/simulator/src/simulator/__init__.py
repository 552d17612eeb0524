"""A Bitget that checks signatures. Embedders load an Exchange, then serve it (`running`) or take its ASGI
applications."""

from simulator.accounts import Account, Holding, Style
from simulator.app import build_app
from simulator.config import SAMPLE, load
from simulator.control import build_control
from simulator.exchange import Exchange, Setup
from simulator.faults import Fault
from simulator.listen import Addresses, running
from simulator.values import ConfigError

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
