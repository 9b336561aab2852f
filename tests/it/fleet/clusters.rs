//! A cluster of three servers of which one is killed.
