/** Weights in files: safetensors, GGUF and checkpoints of PyTorch, opened without being read. */
export type { Blocks, ElementOptions } from './elements';
export { type GgufTokenizer, ggufTokenizer } from './gguf/tokenizer';
export { type OpenWeightsOptions, openWeights, type WeightsLike } from './open';
export { type PackOptions, packWeight } from './pack';
export { type QuantizedTensor, type QuantizeOptions, quantizeWeights } from './quantize';
export type { ByteSource, ReadOptions } from './source';
export type { BlockType, StoredTensor, StoredType, WeightFile } from './stored';
export { type DownloadOptions, type ReadTensorOptions, Weights } from './weights';
export { type DeferredTensor, type WritableTensor, type WriteWeightsOptions, writeWeights } from './write';
