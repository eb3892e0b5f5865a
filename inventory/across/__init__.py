"""Running tasks from Dask workers at other sites: what travels, which worker asks which host, who may take part."""
