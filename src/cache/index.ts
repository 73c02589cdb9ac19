export {
  type AppendOptions,
  createKeyValueCache,
  type KeyValueCache,
  type KeyValueCacheOptions,
} from './key-value-cache';
export {
  createRecurrentCache,
  type RecurrentCache,
  type RecurrentCacheOptions,
  type RecurrentLayer,
} from './recurrent-cache';
