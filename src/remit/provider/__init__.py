"""`remit auth serve`: authentication and authorization for other servers, over HTTP."""
