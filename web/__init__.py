"""What all tabs share on the way to a browser or a client: the shell, and errors in their terms."""
