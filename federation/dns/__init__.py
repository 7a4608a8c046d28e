"""Service DNS: names of the clusterset answered from memory as KEP-1645 specifies, the others forwarded."""
