"""models.dev: the model catalogue as a document, made from its sources, and which one a cache ships."""
