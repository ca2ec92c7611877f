"""Records from many processes to one pusher process, which aggregates and pushes them.

The way: ``Relay.write`` → a line on the pipe → the adapter's ``Aggregator`` in the pusher →
``Change`` values, put together by group → at most one push of each group in an interval.
"""
