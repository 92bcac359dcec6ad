"""One file is one adapter method; all that is known of it stands in its class."""
