"""Tables, views, generations, and the only code that imports duckdb."""
