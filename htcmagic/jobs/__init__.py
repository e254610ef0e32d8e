"""What we sent: descriptions, clusters, and the thread that follows them."""
