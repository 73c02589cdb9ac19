/** The library's methods as values; a bundler keeps only those that are imported. */
export * from './published';
