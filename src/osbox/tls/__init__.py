"""The entrance's certificate: the deployment's own authority, what is wrong with a certificate, and the files
of both."""
