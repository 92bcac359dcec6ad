"""Tables, figures, sentences and advice from records; nothing here computes a result of its own."""
