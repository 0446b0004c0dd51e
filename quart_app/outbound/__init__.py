"""The HTTP engine: one request out, one answer in. Knows neither Quart nor the database."""
