"""The local web server: pages, API, long polling. Imports ground, metrics, reader, transfer; is handed the
catalog and the connections. Begin with app, then routes; access says who may ask what."""
