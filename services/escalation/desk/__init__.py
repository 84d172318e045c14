"""What handlers, timers and the API share: cases opened, decided and saved in one transaction."""
