"""Chat with visitors: tokens and frames (pure), and the transcript that both sides' messages go through."""
