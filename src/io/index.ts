/** Files of tensors. They hold host tensors: `runtime.fromHost()` and `tensor.toHost()` are the way in and out. */
export type { FileBytes } from './bytes';
export { readNpy, writeNpy } from './npy';
export { type ReadNpzOptions, readNpz, writeNpz } from './npz';
export {
  readSafetensors,
  readSafetensorsMetadata,
  type WriteSafetensorsOptions,
  writeSafetensors,
} from './safetensors';
