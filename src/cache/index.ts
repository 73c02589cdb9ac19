export {
  type AppendOptions,
  createKeyValueCache,
  type KeyValueCache,
  type KeyValueCacheOptions,
} from './key-value-cache';
