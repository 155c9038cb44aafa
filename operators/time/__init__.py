"""When elements pass: debounce, throttle, interval."""
