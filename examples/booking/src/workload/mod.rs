pub(crate) mod zipf;
