"""Rx schedulers and timers on the asyncio loop."""
