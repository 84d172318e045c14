"""What handlers, timers and API share: what directory told, and clocks kept up to date."""
