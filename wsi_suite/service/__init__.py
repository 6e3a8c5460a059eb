"""The local service: a warm model that QuPath's scripts ask over HTTP."""
