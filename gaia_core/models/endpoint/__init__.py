"""OpenAI-compatible endpoints: the request that is sent, the stream that is read, failover.

Begin with `_endpoint` (one request), then `_response_reader` (bytes → deltas) and `_failover` (several endpoints).
"""
