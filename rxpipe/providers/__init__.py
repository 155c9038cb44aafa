"""Services that answer: one small interface of what is asked, what comes back, and why nothing did."""
