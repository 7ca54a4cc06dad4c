"""The HTTP and page layer shared by all tabs: the shell, routes, middleware and error messages."""
