"""This deployment and this machine's settings: site.toml, names, secrets, the ledger, where packages come
from."""
