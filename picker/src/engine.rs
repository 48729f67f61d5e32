//! Reads the load series that count from a model server's metrics page, for each engine.
