"""An exchange that the command line finds in the plug-in folder, with two accounts behind it."""

from backend.domain.clock import system_clock
from tests.services.fakes import RealModule

_module = RealModule(system_clock)
CAPABILITIES, CREDENTIALS, SETTINGS = _module.CAPABILITIES, _module.CREDENTIALS, _module.SETTINGS
connect, open_market = _module.connect, _module.open_market
holds, keys = _module.holds, _module.keys
