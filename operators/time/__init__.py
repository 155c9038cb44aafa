"""When elements pass: debounce, throttle, rate, sample, delay, timeout; and clocks: interval, at."""
