"""PostgreSQL, the only state: named queries in sql/, one module a noun."""
