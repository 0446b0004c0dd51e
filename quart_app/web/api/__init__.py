"""The views of the JSON API, one file per noun: take the services, call the use case, answer."""
