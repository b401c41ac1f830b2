"""What an operator sees and does: logs, metrics, traces, reloading the configuration.

Imports no wire protocol. `_reloader` runs in the server, `reload_command` is `gaia reload`.
"""
