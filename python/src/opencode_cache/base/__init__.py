"""What every package stands on: errors, documents, files, the local store, the terminal."""
