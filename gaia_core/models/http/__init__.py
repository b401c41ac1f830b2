"""HTTP clients for endpoints, behind one contract (`_client`).

`_plain_client` serves plain HTTP to a host directly; `_aiohttp_client` serves TLS, proxies and compression.
"""
