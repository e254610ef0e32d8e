"""Looking at a queue: tables as text, HTML and data frames."""
